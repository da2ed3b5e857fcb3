//! Numbers on an even grid.

/// Numbers on an even grid over a part of a panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// The numbers, each of the middle of its cell, from the lower left, row by row.
    pub values: Vec<f64>,
    /// The number of columns.
    pub columns: usize,
    /// The lower left corner.
    pub from: [f64; 2],
    /// The upper right corner.
    pub to: [f64; 2],
}

impl Grid {
    /// The numbers that `of` gives for the middles of `side` by `side` cells.
    ///
    /// # Errors
    /// Those of `of`.
    pub fn new<E>(side: usize, from: [f64; 2], to: [f64; 2], of: impl FnMut([f64; 2]) -> Result<f64, E>) -> Result<Self, E> {
        let along = |axis: usize, k: usize| from[axis] + (to[axis] - from[axis]) * (k as f64 + 0.5) / side as f64;
        let places = (0..side * side).map(|k| [along(0, k % side), along(1, k / side)]);
        Ok(Self { values: places.map(of).collect::<Result<_, E>>()?, columns: side, from, to })
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    /// The place that many columns and rows from the middle of the first cell.
    pub(super) fn place(&self, [column, row]: [f64; 2]) -> [f64; 2] {
        let along = |axis: usize, k: f64, count: usize| self.from[axis] + (self.to[axis] - self.from[axis]) * (k + 0.5) / count as f64;
        [along(0, column, self.columns), along(1, row, self.rows())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_their_places() {
        let grid = Grid::new(4, [-1.0, 0.0], [1.0, 8.0], |[x, y]| Ok::<_, ()>(x + 10.0 * y)).unwrap();
        assert_eq!((grid.rows(), grid.values[6]), (4, 0.25 + 30.0));
        assert_eq!(grid.place([2.0, 1.0]), [0.25, 3.0]);
        assert_eq!((grid.place([-0.5; 2]), grid.place([3.5; 2])), (grid.from, grid.to));
        assert!(Grid::new(1, [0.0; 2], [1.0; 2], |_| Err(())).is_err());
    }
}
