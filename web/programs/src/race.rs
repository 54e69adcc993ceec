//! Networks whose steps are timed against the same loop in JavaScript.

use elman::{Generator, GruCell, Linear, Parameters, RnnCell, Step, Stream};

/// A network of `IN` inputs and two outputs, and a step number that its inputs are made of.
pub struct Racer<M: Step, const IN: usize> {
    stream: Stream<M>,
    step: u32,
    output: M::Output,
}

/// A cell of 8 neurons, as for a sensor.
pub type Small = Racer<(RnnCell<3, 8>, Linear<8, 2>), 3>;
/// A GRU of 32 neurons.
pub type Gated = Racer<(GruCell<8, 32>, Linear<32, 2>), 8>;
/// A cell of 128 neurons, as for sound.
pub type Large = Racer<(RnnCell<8, 128>, Linear<128, 2>), 8>;

/// Initial weights of a fixed seed.
impl Default for Small {
    fn default() -> Self {
        let mut generator = Generator::seed(1);
        Racer::of((RnnCell::new(&mut generator), Linear::new(&mut generator)))
    }
}

/// Initial weights of a fixed seed.
impl Default for Gated {
    fn default() -> Self {
        let mut generator = Generator::seed(2);
        Racer::of((GruCell::new(&mut generator), Linear::new(&mut generator)))
    }
}

/// Initial weights of a fixed seed.
impl Default for Large {
    fn default() -> Self {
        let mut generator = Generator::seed(3);
        Racer::of((RnnCell::new(&mut generator), Linear::new(&mut generator)))
    }
}

impl<M: Step<Input = [f32; IN], Output = [f32; 2]> + Parameters, const IN: usize> Racer<M, IN> {
    fn of(model: M) -> Self {
        Self { stream: Stream::new(model), step: 0, output: [0.0; 2] }
    }

    /// Some steps on. Input `i` of step `t` is `(t (i + 3) mod 32) / 16 - 1`, which is exact.
    pub fn run(&mut self, steps: u32) -> [f32; 2] {
        for _ in 0..steps {
            let step = self.step;
            let x = core::array::from_fn(|i| (step.wrapping_mul(i as u32 + 3) % 32) as f32 / 16.0 - 1.0);
            self.output = self.stream.advance(&x);
            self.step = step.wrapping_add(1);
        }
        self.output
    }

    /// Goes to the first step, and writes the weights, tensor after tensor in PyTorch's order, each input-major. Gives how
    /// many there are.
    pub fn start(&mut self, weights: &mut [f32]) -> usize {
        self.stream.reset();
        self.step = 0;
        let mut end = 0;
        self.stream.model().visit(&mut |tensor| {
            let start = end;
            end += tensor.len();
            weights[start..end].copy_from_slice(tensor);
        });
        end
    }
}
