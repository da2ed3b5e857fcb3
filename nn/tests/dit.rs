//! The transformer: sharing, orientation, derivatives, where training starts, bad input. Its values are judged by the reference's tensors in
//! `mfm-tests`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Device64, Tensor64, close, normal, tensor, values};
use mfm_core::autodiff::{gradient, jvp};
use mfm_core::{Condition, Error, Lift, MetaFlowMap, Noise, Operations, Query, Tensor};
use mfm_nn::dit::from_flow_model;
use mfm_nn::{Dit, DitConfig, DitSize, Module, Orientation};
use std::collections::BTreeSet;

fn small() -> DitConfig {
    DitConfig { labels: 3, guidance: vec![1.0, 2.5], normalised_attention: true, ..DitConfig::custom([8, 3, 2], 2, 4, 2) }
}

/// Every parameter random, so that nothing is zero by its start.
fn random(config: &DitConfig, seed: u64) -> Dit<Tensor64> {
    let device = Device64::new();
    let mut index = 0;
    Dit::build::<Error>(config, &mut |_, shape| {
        index += 1;
        mfm_core::Device::normal(&device, &Noise::new(seed).fork(index), shape)?.scale(0.3)
    })
    .unwrap()
}

fn condition<'a>(labels: Option<&'a [usize]>, guidance: Option<&'a [f64]>) -> Condition<'a> {
    let mut condition = Condition::NONE;
    (condition.labels, condition.guidance) = (labels, guidance);
    condition
}

fn times(n: usize, from: f64, step: f64) -> Vec<f64> {
    (0..n).map(|i| from + step * i as f64).collect()
}

fn query<'a>([s, u, t]: [usize; 3], states: usize, draws: usize, condition: Condition<'a>) -> Query<'a, Tensor64> {
    let device = Device64::new();
    Query {
        s: tensor(&device, &times(s, 0.1, 0.02), &[s]),
        u: tensor(&device, &times(u, 0.6, 0.03), &[u]),
        x: normal(&device, 1, &[states * draws, 2, 4, 4]),
        t: tensor(&device, &times(t, 0.3, 0.05), &[t]),
        x_t: normal(&device, 2, &[states, 2, 4, 4]),
        condition,
    }
}

#[test]
fn rows_are_answered_one_by_one() {
    let device = Device64::new();
    let network = random(&small(), 3);
    for (states, draws) in [(1, 1), (1, 3), (3, 1), (2, 3)] {
        let rows = states * draws;
        let labels: &[usize] = &[2, 3, 0][..states];
        let scales: &[f64] = &[2.5, 1.0, 2.5][..states];
        for counts in [[1, 1, 1], [rows, 1, 1], [1, rows, states], [rows, rows, states], [1, 1, states]] {
            for condition in [condition(None, None), condition(Some(&[1]), None), condition(Some(labels), Some(scales))] {
                let query = query(counts, states, draws, condition);
                let found = values(&network.velocity(&query).unwrap());
                let pick = |time: &Tensor64, i: usize| tensor(&device, &[values(time)[i % time.shape().elements()]], &[1]);
                for (row, found) in found.chunks(32).enumerate() {
                    let state = row / draws;
                    let alone = Query {
                        s: pick(&query.s, row),
                        u: pick(&query.u, row),
                        x: query.x.slice(0, row, 1).unwrap(),
                        t: pick(&query.t, state),
                        x_t: query.x_t.slice(0, state, 1).unwrap(),
                        condition: condition.states(state, 1),
                    };
                    close(found, &values(&network.velocity(&alone).unwrap()), 1e-12);
                }
            }
        }
    }
}

#[test]
fn orientation_turns_the_flow_times_alone() {
    let device = Device64::new();
    let forward = random(&small(), 3);
    let backward = Dit::build::<Error>(&DitConfig { orientation: Orientation::DataAtZero, ..small() }, &mut {
        let mut all = forward.parameters().into_iter();
        move |_, _| Ok(all.next().unwrap().1)
    })
    .unwrap();
    let query = query([2, 2, 2], 2, 1, Condition::NONE);
    let turned = Query {
        s: tensor(&device, &values(&query.s).iter().map(|s| 1.0 - s).collect::<Vec<_>>(), &[2]),
        u: tensor(&device, &values(&query.u).iter().map(|u| 1.0 - u).collect::<Vec<_>>(), &[2]),
        ..query.clone()
    };
    let negative = values(&backward.velocity(&turned).unwrap().neg().unwrap());
    close(&values(&forward.velocity(&query).unwrap()), &negative, 1e-12);
}

#[test]
fn derivatives_in_both_directions() {
    let device = Device64::new();
    for normalised_attention in [false, true] {
        let network = random(&DitConfig { normalised_attention, ..small() }, 5);
        let asked = query([2, 2, 2], 2, 1, Condition::labels(&[1, 3]));
        let inputs = [&asked.s, &asked.u, &asked.x, &asked.t, &asked.x_t];
        let tangents: Vec<Tensor64> = inputs.iter().enumerate().map(|(i, x)| normal(&device, 10 + i as u64, x.shape().axes())).collect();
        let at = |h: f64| -> Vec<f64> {
            let moved: Vec<Tensor64> = inputs.iter().zip(&tangents).map(|(x, dx)| x.add(&dx.scale(h).unwrap()).unwrap()).collect();
            let [s, u, x, t, x_t] = <[Tensor64; 5]>::try_from(moved).unwrap();
            values(&network.velocity(&Query { s, u, x, t, x_t, condition: asked.condition }).unwrap())
        };
        let h = 3e-4;
        let (a, b, c, d) = (at(-2.0 * h), at(-h), at(h), at(2.0 * h));
        let slope: Vec<f64> = (0..a.len()).map(|i| (a[i] - 8.0 * b[i] + 8.0 * c[i] - d[i]) / (12.0 * h)).collect();
        let (_, tangent) = jvp(&inputs, &tangents.iter().collect::<Vec<_>>(), |v| {
            let lifted = network.lift(&mut |p| Ok(mfm_core::autodiff::Dual::constant(p.clone())))?;
            let [s, u, x, t, x_t] = [0, 1, 2, 3, 4].map(|i| v[i].clone());
            lifted.velocity(&Query { s, u, x, t, x_t, condition: asked.condition })
        })
        .unwrap();
        close(&values(&tangent), &slope, 1e-8);

        // ⟨∇⟨v, c⟩, d⟩ = ⟨c, ∂v·d⟩, along the same direction.
        let cotangent = normal(&device, 20, asked.x.shape().axes());
        let (_, gradients) = gradient(&inputs, |v| {
            let lifted = network.lift(&mut |p| Ok(mfm_core::autodiff::Var::constant(p.clone())))?;
            let [s, u, x, t, x_t] = [0, 1, 2, 3, 4].map(|i| v[i].clone());
            let velocity = lifted.velocity(&Query { s, u, x, t, x_t, condition: asked.condition })?;
            velocity.mul(&mfm_core::autodiff::Var::constant(cotangent.clone()))?.sum_all()
        })
        .unwrap();
        let dot = |a: &Tensor64, b: &Tensor64| values(&a.mul(b).unwrap().sum_all().unwrap())[0];
        let backward: f64 = gradients.iter().zip(&tangents).map(|(g, dx)| dot(g, dx)).sum();
        close(&[backward], &[dot(&cotangent, &tangent)], 1e-10);
    }
}

#[test]
fn recomputation_changes_neither_values_nor_gradients() {
    let network = random(&small(), 5);
    let asked = query([2, 2, 2], 2, 1, Condition::labels(&[1, 3]));
    let all = |network: &Dit<Tensor64>| {
        let tape = mfm_core::autodiff::Tape::new();
        let lifted = network.lift(&mut |p| Ok(tape.variable(p.clone()))).unwrap();
        let constant = |x: &Tensor64| mfm_core::autodiff::Var::constant(x.clone());
        let x = tape.variable(asked.x.clone());
        let (s, u, t, x_t) = (constant(&asked.s), constant(&asked.u), constant(&asked.t), constant(&asked.x_t));
        let y = lifted.velocity(&Query { s, u, x: x.clone(), t, x_t, condition: asked.condition }).unwrap();
        let value = values(y.value());
        let gradients = tape.backward(&y, normal(&Device64::new(), 20, asked.x.shape().axes())).unwrap();
        let mut found = vec![value, values(&gradients.of(&x).unwrap())];
        lifted.visit(&mut |_, p| found.push(values(&gradients.of(p).unwrap())));
        found
    };
    let (kept, again) = (all(&network), all(&network.clone().recomputing(true)));
    for (kept, again) in kept.iter().zip(&again) {
        close(kept, again, 1e-12);
    }
}

#[test]
fn a_fresh_network_is_zero_and_learns_from_everything() {
    let device = Device64::new();
    let network = Dit::new(&device, &small(), &Noise::new(1)).unwrap();
    let velocity = network.velocity(&query([1, 1, 1], 2, 2, Condition::NONE)).unwrap();
    assert!(values(&velocity).iter().all(|v| *v == 0.0));
    let [s, xl] = [DitSize::S, DitSize::XL].map(|size| DitConfig::new(size, 4, 32, 2));
    assert_eq!((s.hidden, s.depth, s.heads, s.tokens(), s.encoder), (384, 12, 6, 256, 8));
    assert_eq!((xl.hidden, xl.depth, xl.heads, xl.data()), (1152, 28, 16, 4096));
}

#[test]
fn a_map_that_starts_from_a_flow_model_has_its_velocity_at_every_state() {
    let device = Device64::new();
    let config = small();
    let mut asked = BTreeSet::new();
    let noise = Noise::new(9);
    let mut flow = |name: &str, shape| {
        asked.insert(name.to_string());
        mfm_core::Device::normal(&device, &Noise::new(name.bytes().map(u64::from).sum()), shape)?.scale(0.3)
    };
    let network = Dit::build::<Error>(&config, &mut from_flow_model(&device, &noise, &mut flow)).unwrap();
    assert!(asked.iter().all(|name| !name.contains("cond") && !name.contains("second") && !name.starts_with("s_embedder")), "{asked:?}");
    let ask = |t: f64, state: u64, u: f64, scale: f64| {
        let one = |time| tensor(&device, &[time], &[1]);
        let (x, x_t) = (normal(&device, 1, &[2, 32]), normal(&device, state, &[2, 32]));
        let (labels, scales) = ([1], [scale]);
        let condition = condition(Some(&labels), Some(&scales));
        values(&network.velocity(&Query { s: one(0.4), u: one(u), x, t: one(t), x_t, condition }).unwrap())
    };
    let here = ask(0.0, 2, 0.4, 1.0);
    close(&ask(0.7, 3, 0.4, 2.5), &here, 1e-14);
    assert!(here.iter().zip(ask(0.0, 2, 0.9, 1.0)).any(|(a, b)| (a - b).abs() > 1e-3), "jumps must depend on their end");
}

#[test]
fn bad_input_is_named() {
    let network = random(&small(), 3);
    let ask = |condition| network.velocity(&query([1, 1, 1], 1, 1, condition)).unwrap_err();
    assert!(matches!(ask(condition(Some(&[4]), None)), Error::Index { index: 4, length: 4, .. }));
    assert!(matches!(ask(condition(None, Some(&[3.0]))), Error::Range { value: 3.0, .. }));
    let plain = random(&DitConfig { labels: 0, guidance: Vec::new(), ..small() }, 3);
    let ask = |condition| plain.velocity(&query([1, 1, 1], 1, 1, condition)).unwrap_err();
    assert!(matches!(ask(condition(Some(&[0]), None)), Error::Unsupported { .. }));
    assert!(matches!(ask(condition(None, Some(&[1.0]))), Error::Unsupported { .. }));
    let wrong = [
        DitConfig { patch: 3, ..small() },
        DitConfig { heads: 3, ..small() },
        DitConfig { hidden: 6, ..small() },
        DitConfig { encoder: 4, ..small() },
        DitConfig { depth: 0, ..small() },
        DitConfig { side: usize::MAX, ..small() },
        DitConfig { guidance: vec![2.5], ..small() },
        DitConfig { guidance: vec![1.0, f64::NAN], ..small() },
    ];
    for config in wrong {
        assert!(matches!(config.check(), Err(Error::Range { .. })), "{config:?}");
    }
}

#[cfg(feature = "std")]
mod files {
    use super::*;
    use mfm_core::Shape;
    use mfm_core::interpolant::Trigonometric;
    use mfm_cpu_ref::{CpuDevice, CpuTensor};
    use mfm_nn::file::safetensors::{PREFIX, SafetensorsFile, write_dit};
    use mfm_nn::file::{FileError, Jumps, LIBRARY, Provenance, write_model};
    use mfm_nn::{Model, ModelConfig, ModelFile, ModelHeader};
    use safetensors::tensor::TensorView;
    use safetensors::{Dtype, SafeTensors};

    type Single = Dit<CpuTensor<f32>>;

    fn single() -> Single {
        let device = CpuDevice::new();
        let all: Vec<_> = random(&small(), 3).parameters();
        let mut all = all.into_iter();
        Dit::build::<Error>(&small(), &mut |_, shape| mfm_core::Device::from_slice(&device, &values(&all.next().unwrap().1), shape))
            .unwrap()
    }

    fn same(a: &Single, b: &Single) {
        for ((name, a), (other, b)) in a.parameters().into_iter().zip(b.parameters()) {
            assert_eq!((name, values(&a)), (other, values(&b)));
        }
    }

    fn header() -> ModelHeader {
        let config = ModelConfig::dit(small()).on_path(&Trigonometric);
        let mut header = ModelHeader::new(config, Shape::new(&[2, 4, 4]).unwrap());
        (header.guided_by, header.jumps) = (Some(1.25), Jumps::LeftBehind);
        header.provenance = Provenance { steps: 7, seed: 8, objective: "flow".into(), data: "digits".into(), library: LIBRARY.into() };
        header
    }

    #[test]
    fn a_model_file_holds_a_transformer() {
        let device = CpuDevice::new();
        let model = Model::new(&device, &ModelConfig::dit(small()), &[], &Noise::new(1)).unwrap();
        let header = ModelHeader::new(model.config(), Shape::new(&[2, 4, 4]).unwrap());
        let bytes = write_model(&model, &header, None).unwrap();
        let read: Model<CpuTensor<f32>> = ModelFile::parse(&bytes).unwrap().to_model(&device).unwrap();
        assert_eq!(read.config(), model.config());
        for ((name, a), (other, b)) in model.parameters().into_iter().zip(read.parameters()) {
            assert_eq!((name, values(&a)), (other, values(&b)));
        }
    }

    #[test]
    fn safetensors_there_and_back() {
        let (device, network) = (CpuDevice::new(), single());
        let bytes = write_dit(&network, PREFIX, &header()).unwrap();
        let file = SafetensorsFile::parse(&bytes).unwrap();
        let config = file.config(PREFIX, &file.extras().unwrap()).unwrap();
        assert_eq!(&config, network.config());
        assert_eq!(file.outside(PREFIX), None);
        let mut recalled = ModelHeader::new(ModelConfig::dit(config.clone()), Shape::new(&[2, 4, 4]).unwrap());
        recalled.provenance.library = LIBRARY.into();
        file.recall(&mut recalled).unwrap();
        assert_eq!(recalled, header());
        same(&network, &file.to_dit(&device, PREFIX, &config).unwrap());
    }

    #[test]
    fn metadata_that_is_no_number_is_an_error() {
        let bytes = write_dit(&single(), PREFIX, &header()).unwrap();
        let with = |key: &str, value: &str| {
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let metadata = [(key.to_string(), value.to_string())].into();
            let bytes = safetensors::serialize(file.tensors(), Some(metadata)).unwrap();
            let mut found = header();
            SafetensorsFile::parse(&bytes).unwrap().recall(&mut found).map(|()| found)
        };
        assert_eq!(with("steps", "9").unwrap().provenance.steps, 9);
        for (key, value) in [("steps", "-1"), ("guided_by", "much"), ("guided_by", "0.5"), ("guided_by", "NaN"), ("jumps", "high")] {
            assert!(with(key, value).is_err(), "{key} = {value}");
        }
        assert!(with("steps", "many").unwrap_err().to_string().contains("steps"));
    }

    /// The file with one tensor changed; `None` leaves it out.
    fn changed(bytes: &[u8], name: &str, with: Option<(Dtype, Vec<usize>, Vec<u8>)>) -> Vec<u8> {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let mut all: Vec<(String, TensorView<'_>)> = file.tensors().into_iter().filter(|(other, _)| other != name).collect();
        if let Some((dtype, shape, data)) = &with {
            all.push((name.to_string(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        }
        safetensors::serialize(all, None).unwrap()
    }

    #[test]
    fn no_more_positions_are_claimed_than_are_there() {
        let bytes = write_dit(&single(), PREFIX, &header()).unwrap();
        for (shape, wrong) in
            [([0, 1 << 32, 0], true), ([0, 1 << 20, small().hidden], true), ([1, 1 << 52, 0], true), ([1, 0, small().hidden], false)]
        {
            let file = changed(&bytes, "model.dit.pos_embed", Some((Dtype::F32, shape.to_vec(), Vec::new())));
            let file = SafetensorsFile::parse(&file).unwrap();
            let extras = SafetensorsFile::parse(&bytes).unwrap().extras().unwrap();
            let error = file.config(PREFIX, &extras).unwrap_err();
            assert_eq!(matches!(error, FileError::TensorShape { .. }), wrong, "{error}");
        }
        let extras = SafetensorsFile::parse(&bytes).unwrap().extras().unwrap();
        for (name, rows) in [("blocks.0.mlp.fc1.weight", small().hidden << 16), ("y_embedder.embedding_table.weight", (1 << 24) + 1)] {
            let file = changed(&bytes, &format!("{PREFIX}{name}"), Some((Dtype::F32, vec![rows, 0], Vec::new())));
            let error = SafetensorsFile::parse(&file).unwrap().config(PREFIX, &extras).unwrap_err();
            assert!(matches!(&error, FileError::TensorShape { tensor, .. } if tensor.ends_with(name)), "{error}");
        }
        let large = DitConfig { side: 257, patch: 1, ..small() };
        assert!(large.check().unwrap_err().to_string().contains("tokens"));
    }

    /// x, whose size is 0 or between 2⁻¹⁴ and 2¹⁵, in 16 bits of this type.
    fn rounded(x: f32, dtype: Dtype) -> u16 {
        let bits = x.to_bits();
        let nearest = |shift: u32| (bits + (1 << (shift - 1)) - 1 + (bits >> shift & 1)) >> shift;
        match dtype {
            Dtype::BF16 => nearest(16) as u16,
            _ if x.abs() < 2f32.powi(-14) => 0,
            _ => ((bits >> 16 & 0x8000) | ((nearest(13) & 0x3_ffff) - (112 << 10))) as u16,
        }
    }

    #[test]
    fn a_file_wholly_in_half_precision_is_read() {
        let (device, network) = (CpuDevice::<f32>::new(), single());
        let bytes = write_dit(&network, PREFIX, &header()).unwrap();
        for dtype in [Dtype::F16, Dtype::BF16] {
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let all: Vec<(String, Vec<usize>, Vec<u8>)> = file
                .tensors()
                .into_iter()
                .map(|(name, view)| {
                    let words = view.data().chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap()));
                    (name, view.shape().to_vec(), words.flat_map(|x| rounded(x, dtype).to_le_bytes()).collect())
                })
                .collect();
            let views = all.iter().map(|(name, shape, data)| (name, TensorView::new(dtype, shape.clone(), data).unwrap()));
            let halved = safetensors::serialize(views, None).unwrap();
            let read = SafetensorsFile::parse(&halved).unwrap().to_dit(&device, PREFIX, network.config()).unwrap();
            for ((name, whole), (_, half)) in network.parameters().into_iter().zip(read.parameters()) {
                let error =
                    values(&whole).iter().zip(values(&half)).fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs() - a.abs() / 256.0));
                assert!(error <= 1e-4, "{dtype:?}: {name} differs by {error:e}");
            }
            // A file of other positions is refused all the same.
            let far: Vec<u8> =
                all.iter().find(|(name, ..)| name.ends_with("pos_embed")).unwrap().2.iter().map(|byte| byte ^ 0x40).collect();
            let shape = vec![1, network.config().tokens(), network.config().hidden];
            let wrong = changed(&halved, "model.dit.pos_embed", Some((dtype, shape, far)));
            assert!(SafetensorsFile::parse(&wrong).unwrap().to_dit(&device, PREFIX, network.config()).is_err());
        }
    }

    #[test]
    fn what_is_wrong_with_a_safetensors_file_is_named() {
        let (device, network) = (CpuDevice::<f32>::new(), single());
        let bytes = write_dit(&network, PREFIX, &header()).unwrap();
        let load = |bytes: &[u8]| SafetensorsFile::parse(bytes).and_then(|file| file.to_dit(&device, PREFIX, network.config()).map(|_| ()));
        let named = |bytes: &[u8], name: &str| {
            let sentence = load(bytes).unwrap_err().to_string();
            assert!(sentence.contains(name), "{sentence}");
        };
        let name = "model.dit.blocks.1.attn.proj.bias";
        assert_eq!(load(&changed(&bytes, name, None)), Err(FileError::Missing { tensor: name.into() }));
        let extra = "model.dit.blocks.9.attn.proj.bias";
        assert_eq!(
            load(&changed(&bytes, extra, Some((Dtype::F32, vec![1], vec![0; 4])))),
            Err(FileError::Unknown { tensor: extra.into() })
        );
        assert!(
            matches!(load(&changed(&bytes, name, Some((Dtype::F32, vec![4], vec![0; 16])))), Err(FileError::TensorShape { tensor, .. }) if tensor == name)
        );
        named(&changed(&bytes, name, Some((Dtype::F32, vec![8], f32::NAN.to_le_bytes().repeat(8)))), name);
        named(&changed(&bytes, name, Some((Dtype::U8, vec![8], vec![0; 8]))), name);
        named(&changed(&bytes, "model.dit.pos_embed", Some((Dtype::F32, vec![1, 4, 8], vec![0; 128]))), "pos_embed");
        for cut in [0, 7, 100, bytes.len() - 1] {
            assert!(matches!(load(&bytes[..cut]), Err(FileError::Safetensors { .. })), "{cut}");
        }
        // Half precision, both kinds: 1.5, −2, the smallest and the largest.
        let halves: Vec<u8> = [0x3e00u16, 0xc000, 0x0001, 0x7bff, 0, 0x8000, 0x3c00, 0x0400].iter().flat_map(|x| x.to_le_bytes()).collect();
        let file = changed(&bytes, name, Some((Dtype::F16, vec![8], halves)));
        let read = SafetensorsFile::parse(&file).unwrap().to_dit(&device, PREFIX, network.config()).unwrap();
        let (_, bias) = read.parameters().into_iter().find(|(other, _)| PREFIX.to_string() + other == name).unwrap();
        assert_eq!(values(&bias), [1.5, -2.0, 2f64.powi(-24), 65504.0, 0.0, 0.0, 1.0, 2f64.powi(-14)]);
        let brains: Vec<u8> = [0x3fc0u16, 0xc000].iter().cycle().take(8).flat_map(|x| x.to_le_bytes()).collect();
        let file = changed(&bytes, name, Some((Dtype::BF16, vec![8], brains)));
        let read = SafetensorsFile::parse(&file).unwrap().to_dit(&device, PREFIX, network.config()).unwrap();
        let (_, bias) = read.parameters().into_iter().find(|(other, _)| PREFIX.to_string() + other == name).unwrap();
        assert_eq!(values(&bias)[..2], [1.5, -2.0]);
    }
}
