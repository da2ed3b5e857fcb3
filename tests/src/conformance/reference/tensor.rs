//! The primitives, one plain loop each.

use super::{Number, Reference, ReferenceDevice, positions, room, row_major, stretched};
use mfm_core::tensor::{Binary, Compare, Element, Reduce, Transpose, Unary};
use mfm_core::{Error, Result, Shape, Tensor};

impl Reference {
    /// The elements at `positions`, under `shape`.
    fn pick(&self, shape: Shape, positions: &[usize]) -> Self {
        self.like(shape, positions.iter().map(|&p| self.numbers[p]).collect())
    }

    /// Every element of the tensor stretched to `shape`, in row-major order, for which there must be room.
    fn stretch(&self, shape: Shape) -> impl Iterator<Item = Number> {
        positions(shape, &stretched(self.shape, shape), 0).into_iter().map(|p| self.numbers[p])
    }

    fn pairs(&self, other: &Self, op: &'static str, f: impl Fn(Number, Number) -> Number) -> Result<Self> {
        let shape = self.shape.broadcast(&other.shape, op)?;
        let mut numbers = room(op, shape)?;
        numbers.extend(self.stretch(shape).zip(other.stretch(shape)).map(|(a, b)| f(a, b)));
        Ok(self.like(shape, numbers))
    }

    /// The product of the axes before and after `axis`; none before for a `result` without elements, on which no time is spent.
    fn around(&self, axis: usize, result: Shape) -> (usize, usize) {
        let axes = self.shape.axes();
        let outer: usize = axes[..axis].iter().product();
        (outer.min(result.elements()), axes[axis + 1..].iter().product())
    }
}

impl Tensor for Reference {
    type Device = ReferenceDevice;

    fn device(&self) -> ReferenceDevice {
        self.device.clone()
    }

    fn shape(&self) -> Shape {
        self.shape
    }

    fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        Ok(self.numbers.iter().map(|number| E::from_f64(number.value)).collect())
    }

    fn detach(&self) -> Self {
        self.clone()
    }

    fn unary(&self, op: Unary) -> Result<Self> {
        Ok(self.like(self.shape, self.numbers.iter().map(|number| number.unary(op)).collect()))
    }

    fn binary(&self, op: Binary, other: &Self) -> Result<Self> {
        self.pairs(other, "binary", |a, b| a.binary(op, b))
    }

    fn compare(&self, op: Compare, other: &Self) -> Result<Self> {
        self.pairs(other, "compare", |a, b| a.compare(op, b, self.device.relative))
    }

    fn select(&self, yes: &Self, no: &Self) -> Result<Self> {
        let shape = self.shape.broadcast(&yes.shape, "select")?.broadcast(&no.shape, "select")?;
        let mut numbers = room("select", shape)?;
        let branches = yes.stretch(shape).zip(no.stretch(shape));
        numbers.extend(self.stretch(shape).zip(branches).map(|(mask, (yes, no))| mask.select(yes, no, self.device.relative)));
        Ok(self.like(shape, numbers))
    }

    fn reduce(&self, op: Reduce, axis: usize) -> Result<Self> {
        let length = self.shape.axis(axis)?;
        let shape = self.shape.with_axis(axis, 1)?;
        let (outer, inner) = self.around(axis, shape);
        let mut numbers = room("reduce", shape)?;
        for o in 0..outer {
            for i in 0..inner {
                let line = (0..length).map(|k| self.numbers[(o * length + k) * inner + i]);
                numbers.push(match op {
                    Reduce::Sum => Number::sum(line),
                    Reduce::Max => Number::maximum(line),
                });
            }
        }
        Ok(self.like(shape, numbers))
    }

    fn broadcast(&self, shape: Shape) -> Result<Self> {
        if self.shape.broadcast(&shape, "broadcast")? != shape {
            return Err(Error::Shape { op: "broadcast", left: self.shape, right: shape });
        }
        let mut numbers = room("broadcast", shape)?;
        numbers.extend(self.stretch(shape));
        Ok(self.like(shape, numbers))
    }

    fn reshape(&self, shape: Shape) -> Result<Self> {
        if self.shape.elements() != shape.elements() {
            return Err(Error::Shape { op: "reshape", left: self.shape, right: shape });
        }
        Ok(self.like(shape, self.numbers.to_vec()))
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        if axes.len() != self.shape.rank() {
            return Err(Error::Length { op: "permute", expected: self.shape.rank(), found: axes.len() });
        }
        for (i, &axis) in axes.iter().enumerate() {
            if axis >= self.shape.rank() || axes[..i].contains(&axis) {
                return Err(Error::Axis { op: "permute", axis, shape: self.shape });
            }
        }
        let lengths: Vec<usize> = axes.iter().map(|&axis| self.shape.axes()[axis]).collect();
        let own = row_major(self.shape);
        let strides: Vec<usize> = axes.iter().map(|&axis| own[axis]).collect();
        let shape = Shape::new(&lengths)?;
        Ok(self.pick(shape, &positions(shape, &strides, 0)))
    }

    fn slice(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        let whole = self.shape.axis(axis)?;
        if start.checked_add(length).is_none_or(|end| end > whole) {
            return Err(Error::Axis { op: "slice", axis: start.saturating_add(length), shape: self.shape });
        }
        let strides = row_major(self.shape);
        let shape = self.shape.with_axis(axis, length)?;
        Ok(self.pick(shape, &positions(shape, &strides, start * strides[axis])))
    }

    fn concat(parts: &[&Self], axis: usize) -> Result<Self> {
        let [first, ..] = parts else { return Err(Error::Length { op: "concat", expected: 1, found: 0 }) };
        let mut total = 0usize;
        for part in parts {
            first.shape.axis(axis)?;
            if part.shape.rank() != first.shape.rank() || part.shape.with_axis(axis, 0)? != first.shape.with_axis(axis, 0)? {
                return Err(Error::Shape { op: "concat", left: first.shape, right: part.shape });
            }
            // A sum that overflows is too large for any shape, which is what `with_axis` then says.
            total = total.saturating_add(part.shape.axis(axis)?);
        }
        let shape = first.shape.with_axis(axis, total)?;
        let (outer, inner) = first.around(axis, shape);
        let mut numbers = room("concat", shape)?;
        for o in 0..outer {
            for part in parts {
                let run = part.shape.axis(axis)? * inner;
                numbers.extend_from_slice(&part.numbers[o * run..(o + 1) * run]);
            }
        }
        Ok(first.like(shape, numbers))
    }

    fn matmul(&self, other: &Self, transpose: Transpose) -> Result<Self> {
        let mismatch = || Error::Shape { op: "matmul", left: self.shape, right: other.shape };
        let (left_lead, &[left_rows, left_columns]) = self.shape.axes().split_last_chunk().ok_or_else(mismatch)?;
        let (right_lead, &[right_rows, right_columns]) = other.shape.axes().split_last_chunk().ok_or_else(mismatch)?;
        let (m, k) = if transpose.left { (left_columns, left_rows) } else { (left_rows, left_columns) };
        let (depth, n) = if transpose.right { (right_columns, right_rows) } else { (right_rows, right_columns) };
        if k != depth {
            return Err(mismatch());
        }
        let (left_lead, right_lead) = (Shape::new(left_lead)?, Shape::new(right_lead)?);
        let lead = left_lead.broadcast(&right_lead, "matmul").map_err(|_| mismatch())?;
        let axes: Vec<usize> = lead.axes().iter().copied().chain([m, n]).collect();
        let shape = Shape::new(&axes)?;
        let mut numbers = room("matmul", shape)?;
        if shape.elements() == 0 {
            return Ok(self.like(shape, numbers));
        }
        let items = |own: Shape| positions(lead, &stretched(own, lead), 0);
        for (a, b) in items(left_lead).into_iter().zip(items(right_lead)) {
            let left = |i: usize, p: usize| self.numbers[a * m * k + if transpose.left { p * m + i } else { i * k + p }];
            let right = |p: usize, j: usize| other.numbers[b * k * n + if transpose.right { j * k + p } else { p * n + j }];
            for i in 0..m {
                for j in 0..n {
                    numbers.push(Number::sum((0..k).map(|p| left(i, p).binary(Binary::Mul, right(p, j)))));
                }
            }
        }
        Ok(self.like(shape, numbers))
    }

    fn gather(&self, axis: usize, index: &[usize]) -> Result<Self> {
        let length = self.shape.axis(axis)?;
        if let Some(&index) = index.iter().find(|&&i| i >= length) {
            return Err(Error::Index { op: "gather", index, length });
        }
        let shape = self.shape.with_axis(axis, index.len())?;
        let (outer, inner) = self.around(axis, shape);
        let mut numbers = room("gather", shape)?;
        for o in 0..outer {
            for &i in index {
                let start = (o * length + i) * inner;
                numbers.extend_from_slice(&self.numbers[start..start + inner]);
            }
        }
        Ok(self.like(shape, numbers))
    }

    fn scatter_add(&self, axis: usize, index: &[usize], length: usize) -> Result<Self> {
        let own = self.shape.axis(axis)?;
        if index.len() != own {
            return Err(Error::Length { op: "scatter_add", expected: own, found: index.len() });
        }
        if let Some(&index) = index.iter().find(|&&i| i >= length) {
            return Err(Error::Index { op: "scatter_add", index, length });
        }
        let shape = self.shape.with_axis(axis, length)?;
        let (outer, inner) = self.around(axis, shape);
        let mut numbers = room("scatter_add", shape)?;
        // The entries by where they land, and otherwise in their order.
        let mut landing: Vec<usize> = (0..own).collect();
        landing.sort_by_key(|&k| index[k]);
        for o in 0..outer {
            let mut rest = &landing[..];
            for slot in 0..length {
                let (here, later) = rest.split_at(rest.partition_point(|&k| index[k] == slot));
                rest = later;
                for i in 0..inner {
                    numbers.push(Number::sum(here.iter().map(|&k| self.numbers[(o * own + k) * inner + i])));
                }
            }
        }
        Ok(self.like(shape, numbers))
    }
}
