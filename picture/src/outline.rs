//! Outlines of where a density is high.

/// The lowest density in the smallest region that holds `share` of the whole; densities that are none count for nothing.
pub(super) fn level(values: &[f64], share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite() && *value > 0.0).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let wanted = share * sorted.iter().sum::<f64>();
    let mut held = 0.0;
    let last = sorted.iter().find(|value| {
        held += **value;
        held >= wanted
    });
    last.or(sorted.last()).copied().unwrap_or(f64::INFINITY)
}

/// Pieces of the line along which numbers on a grid, row by row, pass `level`; places are counted in columns and rows.
pub(super) fn pieces(values: &[f64], columns: usize, level: f64) -> Vec<[[f64; 2]; 2]> {
    let rows = values.len() / columns.max(1);
    let mut pieces = Vec::new();
    for row in 0..rows.saturating_sub(1) {
        for column in 0..columns.saturating_sub(1) {
            // The corners of a square, around it.
            let corners = [[0, 0], [1, 0], [1, 1], [0, 1]].map(|[x, y]| [column + x, row + y]);
            let above = |[x, y]: [usize; 2]| values[y * columns + x] - level;
            let crossings: Vec<[f64; 2]> = (0..4)
                .filter_map(|k| {
                    let (a, b) = (corners[k], corners[(k + 1) % 4]);
                    let (height, other) = (above(a), above(b));
                    let part = height / (height - other);
                    let between = |axis: usize| a[axis] as f64 + part * (b[axis] as f64 - a[axis] as f64);
                    ((height > 0.0) != (other > 0.0) && part.is_finite()).then(|| [between(0), between(1)])
                })
                .collect();
            // Four at a saddle, where either way of joining them will do.
            pieces.extend(crossings.chunks_exact(2).map(|pair| [pair[0], pair[1]]));
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_whole_is_above_its_level() {
        let values = [0.0, 1.0, f64::NAN, 4.0, 3.0, 2.0];
        assert_eq!(level(&values, 0.4), 4.0);
        assert_eq!(level(&values, 0.7), 3.0);
        assert_eq!(level(&values, 1.0), 1.0);
        assert_eq!(level(&[], 0.5), f64::INFINITY);
    }

    #[test]
    fn an_outline_goes_around() {
        // A cone of height 10, whose level 4 is a circle of radius 6.
        let columns = 21;
        let cone = |k: usize| 10.0 - ((k % columns) as f64 - 10.0).hypot((k / columns) as f64 - 10.0);
        let values: Vec<f64> = (0..columns * columns).map(cone).collect();
        let pieces = pieces(&values, columns, 4.0);
        assert!(pieces.len() > 30);
        for [x, y] in pieces.into_iter().flatten() {
            let radius = (x - 10.0).hypot(y - 10.0);
            assert!((radius - 6.0).abs() < 0.05, "{radius}");
        }
    }
}
