//! Noise: a pure function of seed, stream and position, fixed for ever, and distributed as it should be.

use mfm_core::Noise;

/// The first block of the key stream of ChaCha8 under a key and a nonce of zeros, as published
/// (draft-strombergson-chacha-test-vectors, TC1, 256 bits, 8 rounds).
const CHACHA8: [u8; 64] = [
    0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6, 0x7f, 0x5b, 0xb8, 0xe8, 0x1f, 0x09, 0xa5, 0xa1, 0x2c, 0x84, 0x0e, 0xc3, 0xce, 0x9a,
    0x7f, 0x3b, 0x18, 0x1b, 0xe1, 0x88, 0xef, 0x71, 0x1a, 0x1e, 0x98, 0x4c, 0xe1, 0x72, 0xb9, 0x21, 0x6f, 0x41, 0x9f, 0x44, 0x53, 0x67,
    0x45, 0x6d, 0x56, 0x19, 0x31, 0x4a, 0x42, 0xa3, 0xda, 0x86, 0xb0, 0x01, 0x38, 0x7b, 0xfd, 0xb8, 0x0e, 0x0c, 0xfe, 0x42,
];

fn published() -> Vec<u64> {
    CHACHA8.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

fn words(noise: Noise, n: usize) -> Vec<u64> {
    let mut out = vec![0; n];
    noise.fill_words(&mut out);
    out
}

fn uniform(noise: Noise, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n];
    noise.fill_uniform(&mut out);
    out
}

fn normal(noise: Noise, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n];
    noise.fill_normal(&mut out);
    out
}

fn below(noise: Noise, bound: usize, n: usize) -> Vec<usize> {
    let mut out = vec![usize::MAX; n];
    noise.fill_below(bound, &mut out);
    out
}

#[test]
fn words_are_the_published_key_stream() {
    assert_eq!(words(Noise::from_seed([0; 32]), 8), published());
    assert_eq!(words(Noise::new(0), 8), published());
}

/// The sampling formulas, written again from the words.
#[test]
fn draws_follow_from_the_words() {
    let unit = |word: u64| (word >> 11) as f64 / (1u64 << 53) as f64;
    let words = published();
    let noise = Noise::new(0);
    assert_eq!(uniform(noise, 8), words.iter().map(|&word| unit(word)).collect::<Vec<_>>());
    let drawn = normal(noise, 8);
    for (pair, values) in words.chunks_exact(2).zip(drawn.chunks_exact(2)) {
        let radius = (-2.0 * (1.0 - unit(pair[0])).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * unit(pair[1])).sin_cos();
        assert!((values[0] - radius * cosine).abs() < 1e-14 && (values[1] - radius * sine).abs() < 1e-14, "{values:?}");
    }
    for bound in [1, 2, 10, 1 << 40] {
        let expected: Vec<usize> = words.iter().map(|&word| ((u128::from(word) * bound as u128) >> 64) as usize).collect();
        assert_eq!(below(noise, bound, 8), expected);
    }
    assert_eq!(below(noise, 0, 3), [0; 3]);
}

// Computed by another implementation of ChaCha8: the stream is the nonce; forks take their seeds from blocks 2⁶³ + label.
const STREAM: [u64; 2] = [0x4308_5d08_d9a5_b65a, 0xfe6f_2eb0_a216_2569];
const FORK: [u64; 2] = [0xca9e_c8cb_d0b3_9996, 0xb8ab_47e1_baf4_c7b9];
const TREE: [u64; 2] = [0x13e8_bd69_2306_5d60, 0x0f67_151c_9f75_4d63];

/// Streams and forks as they were when the format was fixed: a change here breaks every stored run.
#[test]
fn streams_and_forks_never_change() {
    assert_eq!(words(Noise::new(1).stream(2).skip(3), 2), STREAM);
    assert_eq!(words(Noise::new(1).stream(2).fork(3), 2), FORK);
    assert_eq!(words(Noise::new(1).fork(3).fork(4).stream(5), 2), TREE);
}

#[test]
fn an_element_is_a_function_of_its_position_alone() {
    const WHOLE: usize = 400;
    for source in [Noise::new(5), Noise::new(5).stream(9).skip(1), Noise::new(6).fork(1).skip((1 << 33) + 63)] {
        let whole = (words(source, WHOLE), uniform(source, WHOLE), normal(source, WHOLE), below(source, 1000, WHOLE));
        for start in [0, 1, 2, 3, 62, 63, 64, 65, 127, 128, 129, 301] {
            for length in [0, 1, 2, 3, 63, 64, 65, 99] {
                let (part, range) = (source.skip(start as u64), start..start + length);
                assert_eq!(words(part, length), whole.0[range.clone()], "words {range:?}");
                assert_eq!(uniform(part, length), whole.1[range.clone()], "uniform {range:?}");
                assert_eq!(normal(part, length), whole.2[range.clone()], "normal {range:?}");
                assert_eq!(below(part, 1000, length), whole.3[range.clone()], "below {range:?}");
            }
        }
        assert_eq!(source.skip(3).skip(4), source.skip(7));
        assert_eq!(source.skip(3).stream(1), source.stream(1), "a stream begins at its beginning");
        assert_eq!(source.skip(3).fork(1), source.fork(1), "a fork does not depend on the position");
    }
}

#[test]
fn seeds_streams_and_forks_differ() {
    let base = Noise::new(3);
    let mut sources = vec![base, Noise::new(4), Noise::from_seed([3; 32]), base.stream(1), base.stream(2), base.stream(u64::MAX)];
    sources.extend((0..6).map(|label| base.fork(label)));
    sources.extend([base.fork(0).fork(0), base.fork(0).fork(1), base.stream(1).fork(0), base.fork(0).stream(1)]);
    for (i, one) in sources.iter().enumerate() {
        for other in &sources[..i] {
            let equal = words(*one, 64).iter().zip(words(*other, 64)).filter(|(a, b)| **a == *b).count();
            assert_eq!(equal, 0, "{one:?} and {other:?}");
        }
    }
}

/// The number of draws of the statistical tests.
const DRAWS: usize = 1_000_000;

/// Null: `estimate` is `truth`, with this variance for each draw. Four standard errors, with fixed seeds.
fn within_four_errors(what: &str, estimate: f64, truth: f64, variance: f64) {
    let error = (variance / DRAWS as f64).sqrt();
    assert!((estimate - truth).abs() < 4.0 * error, "{what}: {estimate} is {} standard errors from {truth}", (estimate - truth) / error);
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    values.sum::<f64>() / DRAWS as f64
}

fn correlation(what: &str, a: &[f64], b: &[f64]) {
    within_four_errors(what, mean(a.iter().zip(b).map(|(a, b)| a * b)), 0.0, 1.0);
    // Squares have the variance 2, so their product has 4.
    within_four_errors(&format!("{what}, squares"), mean(a.iter().zip(b).map(|(a, b)| (a * a - 1.0) * (b * b - 1.0))), 0.0, 4.0);
}

/// Moments one to four, and the tails.
#[test]
fn normal_draws_are_normal() {
    for source in [Noise::new(11), Noise::new(11).stream(1).skip(1), Noise::new(11).fork(2)] {
        let x = normal(source, DRAWS);
        within_four_errors("mean", mean(x.iter().copied()), 0.0, 1.0);
        within_four_errors("variance", mean(x.iter().map(|x| x * x)), 1.0, 2.0);
        within_four_errors("skewness", mean(x.iter().map(|x| x.powi(3))), 0.0, 15.0);
        within_four_errors("kurtosis", mean(x.iter().map(|x| x.powi(4))), 3.0, 96.0);
        for (limit, outside) in [(1.0, 0.317_310_507_862_914), (2.0, 0.045_500_263_896_358_4), (3.0, 0.002_699_796_063_260_19)] {
            let found = mean(x.iter().map(|x| f64::from(u8::from(x.abs() > limit))));
            within_four_errors(&format!("beyond {limit}"), found, outside, outside * (1.0 - outside));
        }
    }
}

/// Neighbours in a draw, the two of a pair, and draws of other streams, forks and seeds.
#[test]
fn normal_draws_are_independent() {
    let base = Noise::new(12);
    let x = normal(base, DRAWS + 2);
    correlation("neighbours", &x[..DRAWS], &x[1..]);
    correlation("next but one", &x[..DRAWS], &x[2..]);
    let others = [
        ("another seed", Noise::new(13)),
        ("another stream", base.stream(1)),
        ("a fork", base.fork(0)),
        ("another fork", base.fork(1)),
        ("a fork of a stream", base.stream(1).fork(0)),
    ];
    let draws: Vec<(&str, Vec<f64>)> = others.map(|(name, noise)| (name, normal(noise, DRAWS))).into();
    for (i, (name, one)) in draws.iter().enumerate() {
        correlation(name, &x[..DRAWS], one);
        for (other, draw) in &draws[..i] {
            correlation(&format!("{name} and {other}"), one, draw);
        }
    }
}

/// χ² of equally likely classes: mean k − 1, variance 2 (k − 1), near enough to normal for k = 1000.
fn equally_likely(what: &str, classes: usize, draws: impl Iterator<Item = usize>) {
    let mut counts = vec![0.0; classes];
    draws.for_each(|class| counts[class] += 1.0);
    let expected = DRAWS as f64 / classes as f64;
    let square: f64 = counts.iter().map(|count: &f64| (count - expected).powi(2) / expected).sum();
    let freedom = classes as f64 - 1.0;
    assert!((square - freedom).abs() < 4.0 * (2.0 * freedom).sqrt(), "{what}: χ² is {square} for {freedom} degrees of freedom");
}

#[test]
fn uniform_draws_are_uniform() {
    let x = uniform(Noise::new(14), DRAWS);
    assert!(x.iter().all(|x| (0.0..1.0).contains(x)));
    equally_likely("uniform", 1000, x.iter().map(|x| (x * 1000.0) as usize));
    equally_likely("below", 1000, below(Noise::new(15), 1000, DRAWS).into_iter());
    // The low digits of the uniform numbers, and pairs of neighbours.
    equally_likely("low digits", 1024, x.iter().map(|x| (x * (1u64 << 53) as f64) as usize % 1024));
    let pairs = uniform(Noise::new(16), 2 * DRAWS);
    equally_likely("pairs", 1024, pairs.chunks_exact(2).map(|pair| (pair[0] * 32.0) as usize * 32 + (pair[1] * 32.0) as usize));
}
