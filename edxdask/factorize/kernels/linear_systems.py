"""Linear algebra of a few numbers, without a call into LAPACK or an allocation."""

from numba import njit

PIVOT = 1e-12  # a pivot below this fraction of its diagonal entry is rounding: the matrix is singular


@njit(cache=True, nogil=True)
def factor(matrix, size, lower):
    """Cholesky factor of the leading ``size`` rows; False where the matrix is not positive definite."""
    for row in range(size):
        for column in range(row + 1):
            total = matrix[row, column]
            for m in range(column):
                total -= lower[row, m] * lower[column, m]
            if row > column:
                lower[row, column] = total / lower[column, column]
            elif total > PIVOT * matrix[row, row]:
                lower[row, row] = total**0.5
            else:
                return False
    return True


@njit(cache=True, nogil=True)
def solve(lower, size, vector):
    """Solve in place, with the factor of ``factor``."""
    for row in range(size):
        total = vector[row]
        for m in range(row):
            total -= lower[row, m] * vector[m]
        vector[row] = total / lower[row, row]
    for row in range(size - 1, -1, -1):
        total = vector[row]
        for m in range(row + 1, size):
            total -= lower[m, row] * vector[m]
        vector[row] = total / lower[row, row]


@njit(cache=True, nogil=True)
def invert(matrix, size, lower, column, inverse):
    """Inverse of a positive definite matrix; False where it is not one."""
    if not factor(matrix, size, lower):
        return False
    for j in range(size):
        for i in range(size):
            column[i] = 1.0 if i == j else 0.0
        solve(lower, size, column)
        for i in range(size):
            inverse[i, j] = column[i]
    return True
