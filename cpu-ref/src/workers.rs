//! Threads that share a list of tasks with their caller.

use mfm_core::Result;

/// What threads may share, and hand to one another: without threads, anything.
#[cfg(feature = "std")]
pub(crate) use core::marker::{Send as Movable, Sync as Shareable};
#[cfg(not(feature = "std"))]
pub(crate) trait Movable {}
#[cfg(not(feature = "std"))]
impl<T> Movable for T {}
#[cfg(not(feature = "std"))]
pub(crate) trait Shareable {}
#[cfg(not(feature = "std"))]
impl<T> Shareable for T {}

/// Bytes of stack for each thread.
#[cfg(feature = "std")]
const STACK: usize = 2 << 20;

/// The threads of a device, beside the caller's own.
pub(crate) struct Workers {
    #[cfg(feature = "std")]
    pool: Option<rayon::ThreadPool>,
}

impl Workers {
    /// The caller's thread alone.
    pub fn inline() -> Self {
        Self {
            #[cfg(feature = "std")]
            pool: None,
        }
    }

    /// `threads` in all, the caller's among them.
    #[cfg(feature = "std")]
    pub fn with_threads(threads: usize) -> Result<Self> {
        if threads <= 1 {
            return Ok(Self::inline());
        }
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(|i| alloc::format!("mfm-cpu-{i}"));
        // A size of our own, because the standard library would ask the environment for one.
        let pool = builder.stack_size(STACK).build();
        let failed = mfm_core::Error::Device { op: "threads", code: 0, message: "the threads could not be started" };
        pool.map(|pool| Self { pool: Some(pool) }).map_err(|_| failed)
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        #[cfg(feature = "std")]
        if let Some(pool) = &self.pool {
            return pool.current_num_threads() + 1;
        }
        1
    }

    /// `work` on every task, on whichever thread is free if it is worth their while, else here. What a task does must depend on
    /// the task alone, so that the result is the same on any number of threads. The first error is returned.
    pub fn each<I>(&self, worthwhile: bool, tasks: I, work: impl Fn(I::Item) -> Result<()> + Shareable) -> Result<()>
    where
        I: Iterator + Movable,
    {
        self.each_with(worthwhile, tasks, core::iter::repeat(()), |task, ()| work(task))
    }

    /// As [`each`](Self::each); every thread at work also has one item of `own`, which is to have [`at_work`](Self::at_work) of them.
    pub fn each_with<I, S>(
        &self,
        worthwhile: bool,
        tasks: I,
        own: S,
        work: impl Fn(I::Item, &mut S::Item) -> Result<()> + Shareable,
    ) -> Result<()>
    where
        I: Iterator + Movable,
        S: Iterator + Movable,
    {
        #[cfg(feature = "std")]
        if let Some(pool) = self.pool.as_ref().filter(|_| self.at_work(worthwhile, &tasks) > 1) {
            return shared(pool, tasks, own, work);
        }
        let _ = worthwhile;
        let (mut tasks, mut own) = (tasks, own);
        own.next().map_or(Ok(()), |mut own| tasks.try_for_each(|task| work(task, &mut own)))
    }

    /// How many threads would work on these tasks.
    pub fn at_work(&self, worthwhile: bool, tasks: &impl Iterator) -> usize {
        if worthwhile && tasks.size_hint().1.is_none_or(|most| most > 1) { self.threads() } else { 1 }
    }
}

#[cfg(feature = "std")]
fn shared<I, S>(pool: &rayon::ThreadPool, tasks: I, own: S, work: impl Fn(I::Item, &mut S::Item) -> Result<()> + Sync) -> Result<()>
where
    I: Iterator + Send,
    S: Iterator + Send,
{
    use std::sync::{Mutex, PoisonError};

    // The queue, and the first error, which empties it.
    let state = Mutex::new((Some(tasks), Ok(())));
    let own = Mutex::new(own);
    let run = || {
        let Some(mut own) = own.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
        loop {
            let next = state.lock().unwrap_or_else(PoisonError::into_inner).0.as_mut().and_then(Iterator::next);
            let Some(task) = next else { return };
            if let Err(error) = work(task, &mut own) {
                *state.lock().unwrap_or_else(PoisonError::into_inner) = (None, Err(error));
            }
        }
    };
    pool.in_place_scope(|scope| {
        for _ in 0..pool.current_num_threads() {
            scope.spawn(|_| run());
        }
        run();
    });
    state.into_inner().unwrap_or_else(PoisonError::into_inner).1
}
