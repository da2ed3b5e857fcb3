//! Four objectives with their gradients, the reference's random draws replayed.

use crate::file::{Bench, Real};
use crate::teacher::GUIDED_BY;
use mfm_core::autodiff::{Tape, Var};
use mfm_core::drift::ClassifierFree;
use mfm_core::interpolant::Linear;
use mfm_core::training::{AdaptiveWeight, Choices, Consistency, Diagonal, Guided, Jump, Losses, Objective, StopGradient, Velocities};
use mfm_core::{Flow, Lift, Operations, Result, Tensor};
use mfm_cpu_ref::CpuTensor;
use mfm_nn::{Dit, Module};

const KINDS: [(&str, Consistency, bool); 4] = [
    ("psd", Consistency::Semigroup, false),
    ("mf", Consistency::MeanFlow, false),
    ("lsd", Consistency::Lagrangian(StopGradient::Jump), false),
    ("esd_teacher", Consistency::Eulerian, true),
];
const DIAGONAL: AdaptiveWeight = AdaptiveWeight { offset: 0.01, power: 0.5 };
const OFF: AdaptiveWeight = AdaptiveWeight { offset: 0.01, power: 1.0 };

/// The draws of one kind, in the order in which the reference makes them.
struct Draws<'a, E: Real> {
    bench: &'a Bench<'a, E>,
    kind: &'a str,
}

impl<E: Real> Draws<'_, E> {
    fn name(&self, index: usize, what: &str) -> String {
        format!("loss.{}.draw.{index:02}.{what}", self.kind)
    }

    fn numbers(&self, index: usize, what: &str) -> Vec<f64> {
        self.bench.golden.host(&self.name(index, what))
    }

    /// The guidance scale of each sample: one of the list, but 1 where that was drawn or the label dropped.
    fn scales(&self, index: usize, dropped: &[f64]) -> Vec<f64> {
        let known = &self.bench.golden.config.guidance[1..];
        let (choice, plain) = (self.numbers(index, "randint"), self.numbers(index + 1, "bernoulli"));
        let scale = |i: usize| if dropped[i] > 0.0 || plain[i] > 0.0 { 1.0 } else { known[choice[i] as usize] };
        (0..dropped.len()).map(scale).collect()
    }

    fn choices(&self) -> Result<Choices<CpuTensor<E>>> {
        let golden = self.bench.golden;
        let dropped = self.numbers(0, "bernoulli");
        let labels = golden.labels("loss.label").into_iter().zip(&dropped);
        let labels = labels.map(|(label, drop)| if *drop > 0.0 { golden.config.labels } else { label }).collect();
        let t = self.numbers(1, "rand").iter().zip(self.numbers(2, "bernoulli")).map(|(u, keep)| u * u * keep).collect();
        let noise = |index| self.bench.tensor(&self.name(index, "randn_like"));
        let (s, u) = self.numbers(9, "rand").chunks(2).map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1]))).unzip();
        let split = if self.kind == "psd" { self.numbers(12, "rand_like") } else { Vec::new() };
        Ok(Choices {
            labels: Some(labels),
            t,
            state: noise(3)?,
            diagonal: Diagonal { s: self.numbers(5, "rand"), noise: noise(4)?, guidance: Some(self.scales(6, &dropped)) },
            jump: Some(Jump { s, u, noise: noise(8)?, split, guidance: Some(self.scales(10, &dropped)) }),
        })
    }
}

fn number<T: Tensor>(scalar: &T) -> Result<f64> {
    Ok(scalar.to_vec::<f64>()?[0])
}

pub fn check<E: Real>(bench: &Bench<'_, E>) -> Result<()> {
    let (student, teacher) = (bench.network("student")?, bench.network("teacher")?);
    let (x1, null_label) = (bench.tensor("loss.x1")?, bench.golden.config.labels);
    for (kind, consistency, taught) in KINDS {
        let choices = Draws { bench, kind }.choices()?;
        let guided = Guided { null_label, dropout: 0.2, scale: 2.5, plain: Some(0.3) };
        let objective = |diagonal_weight, consistency_weight| Objective {
            consistency,
            diagonal_weight,
            consistency_weight,
            guided: Some(guided),
            ..Objective::default()
        };
        let flow = Flow::new(&student, &Linear);
        let teacher = ClassifierFree { map: &teacher, null_label: Some(null_label), scale: 1.0, guided_by: GUIDED_BY, takes_scale: true };
        let velocities = if taught { Velocities::Teacher(&teacher) } else { Velocities::Data };
        let tape = Tape::new();
        let tracked = student.lift(&mut |p| Ok(tape.variable(p.clone())))?;
        let losses: Losses<_> = objective(DIAGONAL, OFF).loss_of(&flow, &tracked, velocities, &x1, &choices)?;
        let [own, of_teacher] = if taught { ["distill_fm_loss", "fm_loss"] } else { ["fm_loss", "distill_fm_loss"] };
        let name = |what: &str| format!("loss.{kind}.{what}");
        for suffix in ["", "_unweighted"] {
            // Unweighted by the learned weight, which the reference's small networks do not have.
            bench.compare(&name(&format!("{own}{suffix}")), &losses.diagonal)?;
            bench.compare(&name(&format!("distillation_loss{suffix}")), &losses.consistency)?;
            bench.compare_numbers(&name(&format!("{of_teacher}{suffix}")), &[0.0])?;
        }
        let gradients = tape.backward(&losses.total, losses.total.value().zeros_like()?.shift(1.0)?)?;
        for (parameter, variable) in tracked.parameters() {
            bench.compare(&name(&format!("grad.model.dit.{parameter}")), &gradients.of_or_zeros(&variable)?)?;
        }

        // The mean squares, without adaptive weights.
        let constant = student.lift(&mut |p| Ok(Var::constant(p.clone())))?;
        let squares = objective(AdaptiveWeight::NONE, AdaptiveWeight::NONE).loss_of(&flow, &constant, velocities, &x1, &choices)?;
        bench.compare(&name("distillation_loss_l2"), &squares.consistency)?;
        if taught {
            bench.compare(&name("distill_fm_loss_l2"), &squares.diagonal)?;
            for zero in ["fm_loss_l2_base", "fm_loss_l2_mg"] {
                bench.compare_numbers(&name(zero), &[0.0])?;
            }
        } else {
            bench.compare_numbers(&name("distill_fm_loss_l2"), &[0.0])?;
            by_guidance(bench, kind, &student, &x1, &choices, number(&squares.diagonal)?)?;
        }
    }
    Ok(())
}

/// The mean squares of the samples under guidance 1, and of those above; together they are the diagonal's.
fn by_guidance<E: Real>(
    bench: &Bench<'_, E>,
    kind: &str,
    student: &Dit<CpuTensor<E>>,
    x1: &CpuTensor<E>,
    choices: &Choices<CpuTensor<E>>,
    together: f64,
) -> Result<()> {
    let scales = choices.diagonal.guidance.clone().unwrap_or_default();
    let flow = Flow::new(student, &Linear);
    let constant = student.lift(&mut |p| Ok(Var::constant(p.clone())))?;
    let guided = Guided { null_label: bench.golden.config.labels, dropout: 0.2, scale: 2.5, plain: Some(0.3) };
    let objective = Objective { consistency: Consistency::None, guided: Some(guided), ..Objective::default() };
    let mut sums = [(0.0, 0.0), (0.0, 0.0)];
    for (i, scale) in scales.iter().enumerate() {
        let one = of_sample(choices, i)?;
        let loss = objective.loss_of(&flow, &constant, Velocities::Data, &x1.slice(0, i, 1)?, &one)?;
        let sum = &mut sums[usize::from(*scale > 1.0)];
        *sum = (sum.0 + number(&loss.diagonal)?, sum.1 + 1.0);
    }
    let mean = |(sum, count): (f64, f64)| if count > 0.0 { sum / count } else { 0.0 };
    bench.compare_numbers(&format!("loss.{kind}.fm_loss_l2_base"), &[mean(sums[0])])?;
    bench.compare_numbers(&format!("loss.{kind}.fm_loss_l2_mg"), &[mean(sums[1])])?;
    let whole = (sums[0].0 + sums[1].0) / scales.len() as f64;
    assert!((whole - together).abs() <= 1e-4 * together, "{kind}: {whole} and {together}");
    Ok(())
}

/// The choices of one sample.
fn of_sample<E: Real>(choices: &Choices<CpuTensor<E>>, i: usize) -> Result<Choices<CpuTensor<E>>> {
    let part = |all: &[f64]| all.get(i).copied().into_iter().collect::<Vec<f64>>();
    let place = &choices.diagonal;
    Ok(Choices {
        labels: choices.labels.as_ref().map(|labels| vec![labels[i]]),
        t: part(&choices.t),
        state: choices.state.slice(0, i, 1)?,
        diagonal: Diagonal { s: part(&place.s), noise: place.noise.slice(0, i, 1)?, guidance: place.guidance.as_deref().map(part) },
        jump: None,
    })
}
