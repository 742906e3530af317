"""What the user knows of the sample: elements, labels, absences, known compositions; and their errors."""
