//! Small distortions, which leave a digit what it is: a classifier that has seen them knows more than the few digits that it was trained on.

/// The largest turn, in radians.
const TURN: f64 = 0.2;
/// The largest change of size, as a share of it.
const STRETCH: f64 = 0.15;
/// The largest shift along each axis, as a share of the image's side.
const SHIFT: f64 = 0.075;

/// How many numbers make a distortion.
pub const NUMBERS: usize = 4;

/// Writes to `out` the square `image`, turned, stretched and shifted about its middle as the `uniform` numbers in (0, 1) tell; a half means not at all. Between
/// pixels it is bilinear, and beyond its edges it goes on as it is there.
pub fn distort(image: &[f32], side: usize, uniform: &[f64], out: &mut [f32]) {
    let signed = |index: usize| uniform.get(index).map_or(0.0, |u| 2.0 * u - 1.0);
    let (sine, cosine) = (TURN * signed(0)).sin_cos();
    let stretch = 1.0 + STRETCH * signed(1);
    let shift = [2, 3].map(|index| SHIFT * side as f64 * signed(index));
    let middle = (side as f64 - 1.0) / 2.0;
    for (place, pixel) in out.iter_mut().enumerate() {
        let (y, x) = ((place / side) as f64 - middle, (place % side) as f64 - middle);
        let from = [stretch * (cosine * y - sine * x) + shift[0] + middle, stretch * (sine * y + cosine * x) + shift[1] + middle];
        *pixel = bilinear(image, side, from);
    }
}

/// The image at a place between its pixels, (row, column).
fn bilinear(image: &[f32], side: usize, place: [f64; 2]) -> f32 {
    let last = side - 1;
    let [(top, down), (left, right)] = place.map(|x| {
        let x = x.clamp(0.0, last as f64);
        (x as usize, x.fract() as f32)
    });
    let row = |y: usize| {
        let (a, b) = (image[y * side + left], image[y * side + (left + 1).min(last)]);
        a + right * (b - a)
    };
    let (above, below) = (row(top), row((top + 1).min(last)));
    above + down * (below - above)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of the brightest pixel after a distortion of a dot.
    fn moved(dot: usize, uniform: [f64; NUMBERS]) -> usize {
        let mut image = vec![0.0; 21 * 21];
        image[dot] = 1.0;
        let mut out = vec![0.0; image.len()];
        distort(&image, 21, &uniform, &mut out);
        let brightest = out.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        brightest.unwrap().0
    }

    #[test]
    fn halves_do_nothing() {
        let image: Vec<f32> = (0..25).map(|i| (i * i % 7) as f32).collect();
        let mut out = vec![0.0; 25];
        distort(&image, 5, &[0.5; NUMBERS], &mut out);
        assert_eq!(out, image);
    }

    #[test]
    fn a_dot_moves_as_told() {
        let at = |y: usize, x: usize| 21 * y + x;
        // A shift reads from below and so moves up, by 1.575 pixels at most.
        assert_eq!(moved(at(10, 10), [0.5, 0.5, 0.5 + 0.5 / 1.575, 0.5]), at(9, 10));
        assert_eq!(moved(at(10, 10), [0.5, 0.5, 0.5, 0.5 - 0.5 / 1.575]), at(10, 11));
        // The middle stays under turns and changes of size; 8 pixels from it a turn by 0.2 moves by 1.6, a stretch of 0.15 by 1.
        assert_eq!(moved(at(10, 10), [0.99, 0.01, 0.5, 0.5]), at(10, 10));
        assert_eq!(moved(at(10, 18), [0.999, 0.5, 0.5, 0.5]), at(12, 18));
        assert_eq!(moved(at(10, 18), [0.5, 0.999, 0.5, 0.5]), at(10, 17));
    }

    #[test]
    fn edges_go_on() {
        let mut out = vec![0.0; 16];
        distort(&[3.0; 16], 4, &[0.9, 0.9, 0.1, 0.9], &mut out);
        assert!(out.iter().all(|pixel| *pixel == 3.0), "{out:?}");
    }
}
