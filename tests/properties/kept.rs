//! Passes whose results are kept, so that a test can look at forward and backward side by side for as long as it likes.
#![allow(dead_code, reason = "shared by test programs that use some of it")]

use elman::{Batch, Error, Layer, Level, Sequences, Steps, Workspace};

/// A workspace, and copies of what its last forward and its last backward have left.
pub struct Kept<M: Layer> {
    workspace: Workspace<M>,
    initial: M::State,
    output: Vec<M::Output>,
    shape: (usize, usize),
    last: M::State,
    d_input: Option<Vec<M::InputGradient>>,
    d_initial: Option<M::State>,
}

impl<M: Layer> Kept<M> {
    pub fn at(level: Level) -> Self {
        Kept {
            workspace: Workspace::new().at(level),
            initial: M::State::default(),
            output: Vec::new(),
            shape: (0, 0),
            last: M::State::default(),
            d_input: None,
            d_initial: None,
        }
    }

    pub fn with_d_input(mut self) -> Self {
        self.workspace = self.workspace.with_d_input();
        self
    }

    pub fn output(&self) -> Sequences<'_, M::Output> {
        view(&self.output, self.shape)
    }

    pub fn final_state(&self) -> &M::State {
        &self.last
    }

    pub fn d_input(&self) -> Option<Sequences<'_, M::InputGradient>> {
        self.d_input.as_ref().map(|rows| view(rows, self.shape))
    }

    pub fn d_initial(&self) -> Option<&M::State> {
        self.d_initial.as_ref()
    }
}

/// Rows as the crate has them: batch-first.
fn view<R>(rows: &[R], (steps, batch): (usize, usize)) -> Sequences<'_, R> {
    Sequences::batch_first(rows, Batch(batch), Steps(steps)).unwrap()
}

/// Passes of a model that are kept.
pub trait Passes: Layer<Output: Clone, InputGradient: Clone> {
    fn forward_into<'a>(&self, input: impl Into<Sequences<'a, Self::Input>>, kept: &mut Kept<Self>) -> Result<(), Error>
    where
        Self::Input: 'a,
    {
        self.forward_from(input, &Self::State::default(), kept)
    }

    fn forward_from<'a>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        initial: &Self::State,
        kept: &mut Kept<Self>,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
    {
        let Kept { workspace, output, shape, last, .. } = kept;
        let input: Sequences<'_, Self::Input> = input.into();
        let pass = workspace.forward_from(self, input, initial)?;
        *output = pass.output().iter().cloned().collect();
        *shape = (pass.output().steps(), pass.output().batch());
        *last = pass.final_state().clone();
        kept.initial = initial.clone();
        (kept.d_input, kept.d_initial) = (None, None);
        Ok(())
    }

    /// From where the last forward ended.
    fn forward_continued<'a>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        kept: &mut Kept<Self>,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
    {
        let Kept { workspace, output, shape, last, initial, .. } = kept;
        let input: Sequences<'_, Self::Input> = input.into();
        let pass = workspace.forward_continued(self, input)?;
        *output = pass.output().iter().cloned().collect();
        *shape = (pass.output().steps(), pass.output().batch());
        *initial = core::mem::replace(last, pass.final_state().clone());
        (kept.d_input, kept.d_initial) = (None, None);
        Ok(())
    }

    fn backward_into<'a, 'b>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        kept: &mut Kept<Self>,
        d_output: impl Into<Sequences<'b, Self::Output>>,
        gradients: &mut Self,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
        Self::Output: 'b,
    {
        self.backward_from(input, kept, d_output, &Self::State::default(), gradients)
    }

    /// The forward once more, and its backward, which overwrites.
    fn backward_from<'a, 'b>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        kept: &mut Kept<Self>,
        d_output: impl Into<Sequences<'b, Self::Output>>,
        d_final: &Self::State,
        gradients: &mut Self,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
        Self::Output: 'b,
    {
        let Kept { workspace, initial, .. } = kept;
        let input: Sequences<'_, Self::Input> = input.into();
        let pass = workspace.forward_from(self, input, initial)?.with_d_final(d_final);
        let passed = pass.backward_into(d_output, gradients)?;
        let d_input = passed.d_input().map(|rows| rows.iter().cloned().collect());
        let d_initial = passed.d_initial().clone();
        (kept.d_input, kept.d_initial) = (d_input, Some(d_initial));
        Ok(())
    }

    /// The forward once more, and its backward, which adds.
    fn backward_add<'a, 'b>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        kept: &mut Kept<Self>,
        d_output: impl Into<Sequences<'b, Self::Output>>,
        d_final: &Self::State,
        gradients: &mut Self,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
        Self::Output: 'b,
    {
        let input: Sequences<'_, Self::Input> = input.into();
        let pass = kept.workspace.forward_from(self, input, &kept.initial)?.with_d_final(d_final);
        pass.backward_add(d_output, gradients)?;
        Ok(())
    }

    fn backward<'a, 'b>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        kept: &mut Kept<Self>,
        d_output: impl Into<Sequences<'b, Self::Output>>,
    ) -> Result<Self, Error>
    where
        Self::Input: 'a,
        Self::Output: 'b,
    {
        let mut gradients = self.zeros_like();
        self.backward_into(input, kept, d_output, &mut gradients)?;
        Ok(gradients)
    }
}

impl<M: Layer<Output: Clone, InputGradient: Clone>> Passes for M {}
