//! What an operation gives lives where its operands do.

use super::derivatives::COTANGENT;
use super::runs::{forward, reverse};
use super::sentinels::every_case;
use crate::conformance::failure::{Check, Within};
use crate::conformance::input::{Domain, Input, Layout};
use crate::conformance::tables::Group;
use mfm_core::{Device, Operations, Shape, Tensor};

/// Results, gradients and tangents go together with tensors of the device that their operands came of, and tensors of their own device with the
/// operands. A device that takes operands of any other, as the CPU does, passes: devices cannot be compared, only tried.
///
/// # Errors
/// The first result that lives elsewhere.
pub fn devices<D: Device>(device: &D) -> Check {
    let one = device.full(1.0, Shape::SCALAR)?;
    for (group, case) in every_case() {
        let place = |what: &str| format!("{what} of {}", case.name());
        let x = case.build(device, Layout::Contiguous)?;
        let mut found = vec![("the result", case.run(&x).within(|| place("the result"))?)];
        if !matches!(group, Group::Compare | Group::Detach) {
            let v = case.directions(device, Layout::Contiguous)?;
            let w = Input::new(found[0].1.shape(), Domain::Small).build(device, Layout::Contiguous, COTANGENT)?;
            let all = case.all();
            found.push(("the tangent", forward(&case, &x, &v, &all).within(|| place("the tangent"))?.1));
            found.extend(reverse(&case, &x, &w, &all).within(|| place("a gradient"))?.1.into_iter().map(|found| ("a gradient", found)));
        }
        for (what, found) in found {
            found.add(&one).within(|| format!("{} and a tensor of the device", place(what)))?;
            let near = found.device().full(1.0, Shape::SCALAR)?;
            x[0].add(&near).within(|| format!("{}, and a tensor of its device", place(what)))?;
        }
    }
    Ok(())
}
