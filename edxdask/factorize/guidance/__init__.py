"""What the user knows of the sample: elements, labels, absences, compositions; errors of what is found."""
