//! A GRU that learns, while it runs, where a pointer will be in a quarter of a second.
//!
//! Each frame gives a position. The stream takes the velocity and answers with how far the pointer will turn away from a
//! straight line, at four times ahead. Between frames it is trained on pieces of what it has seen, in memory of a fixed size.

use crate::hash::of_parameters;
use elman::{Adam, Error, Generator, GruCell, Linear, Parameters, StepTrace, Stream};

/// Frames ahead that are foretold, at 60 frames a second.
pub const AHEAD: [usize; 4] = [4, 8, 12, 16];
/// Neurons of the GRU.
pub const NEURONS: usize = 24;

const FARTHEST: usize = AHEAD[AHEAD.len() - 1];
const OUTPUTS: usize = 2 * AHEAD.len();
/// Steps of a piece that is trained on, and those at its start that only bring the state along.
const PIECE: usize = 32;
const WARM_UP: usize = 8;
/// Frames that are remembered: 17 seconds.
const HISTORY: usize = 1024;
/// What makes velocities numbers around one. Positions are in heights of the drawing.
const PER_VELOCITY: f32 = 120.0;

type Model = (GruCell<2, NEURONS>, Linear<NEURONS, OUTPUTS>);
const PARAMETERS: usize = Model::COUNT;

/// The network, what it has seen, and its training.
pub struct Pointer {
    stream: Stream<Model>,
    adam: Adam<[f32; PARAMETERS]>,
    trace: StepTrace<Model, PIECE>,
    gradients: Model,
    /// A ring: frame `n` is at `n % HISTORY`.
    history: [[f32; 2]; HISTORY],
    frames: usize,
    generator: Generator,
}

impl Pointer {
    /// A network that knows nothing yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut generator = Generator::seed(seed);
        let mut model: Model = (GruCell::new(&mut generator), Linear::new(&mut generator));
        // It begins as the straight line.
        model.1.fill_zero();
        Self {
            gradients: model.zeros_like(),
            stream: Stream::new(model),
            adam: Adam::with_moments(3e-3, [0.0; PARAMETERS], [0.0; PARAMETERS]),
            trace: StepTrace::new(),
            history: [[0.0; 2]; HISTORY],
            frames: 0,
            generator,
        }
    }

    /// Takes the position of this frame and gives the positions at [`AHEAD`].
    pub fn advance(&mut self, position: [f32; 2]) -> [[f32; 2]; AHEAD.len()] {
        if self.frames == 0 {
            // It has been resting there.
            self.history = [position; HISTORY];
        }
        self.history[self.frames % HISTORY] = position;
        self.frames += 1;
        let velocity = self.velocity(self.frames - 1);
        let turns = self.stream.advance(&velocity.map(|v| v * PER_VELOCITY));
        core::array::from_fn(|i| {
            let ahead = AHEAD[i] as f32;
            [0, 1].map(|axis| position[axis] + ahead * velocity[axis] + unit(ahead) * turns[2 * i + axis])
        })
    }

    /// Trains on one piece of the past and gives its loss; zero before there is one.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] if a position was not finite; the weights are then as they were.
    pub fn train(&mut self) -> Result<f32, Error> {
        // The last frame of a piece must have a known future.
        let oldest = self.frames.saturating_sub(HISTORY - 1) + 1;
        let Some(choices) = self.frames.checked_sub(oldest + PIECE + FARTHEST) else { return Ok(0.0) };
        let first = oldest + self.generator.random_u32() as usize % (choices + 1);
        let (mut loss, mut d_outputs) = (0.0, [[0.0; OUTPUTS]; PIECE]);
        self.trace.reset();
        for (step, d_outputs) in d_outputs.iter_mut().enumerate() {
            let frame = first + step;
            let velocity = self.velocity(frame);
            let turns = self.trace.advance(self.stream.model(), &velocity.map(|v| v * PER_VELOCITY))?;
            if step < WARM_UP {
                continue;
            }
            for (i, ahead) in AHEAD.into_iter().enumerate() {
                let (now, then) = (self.at(frame), self.at(frame + ahead));
                let ahead = ahead as f32;
                for axis in [0, 1] {
                    let turn = (then[axis] - now[axis] - ahead * velocity[axis]) / unit(ahead);
                    let error = turns[2 * i + axis] - turn;
                    let share = 1.0 / ((PIECE - WARM_UP) * OUTPUTS) as f32;
                    loss += error * error * share;
                    d_outputs[2 * i + axis] = 2.0 * error * share;
                }
            }
        }
        self.trace.backward_into(self.stream.model(), &d_outputs, &mut self.gradients)?;
        self.gradients.try_clip_norm(1.0)?;
        self.adam.step(self.stream.model_mut(), &self.gradients)?;
        Ok(loss)
    }

    /// What the neurons hold.
    #[must_use]
    pub fn neurons(&self) -> &[f32; NEURONS] {
        &self.stream.state().0
    }

    /// The hash of the weights.
    #[must_use]
    pub fn hash(&self) -> u64 {
        of_parameters(self.stream.model())
    }

    fn at(&self, frame: usize) -> [f32; 2] {
        self.history[frame % HISTORY]
    }

    fn velocity(&self, frame: usize) -> [f32; 2] {
        let before = frame.checked_sub(1).map_or(self.at(frame), |before| self.at(before));
        [0, 1].map(|axis| self.at(frame)[axis] - before[axis])
    }
}

/// The unit in which the network says how far the pointer turns away: accelerations make squares of the time.
fn unit(ahead: f32) -> f32 {
    0.5 * (ahead / FARTHEST as f32) * (ahead / FARTHEST as f32)
}

/// A path for those who have no mouse at hand: loops that swell, shrink and turn, in the unit square.
#[must_use]
pub fn recorded(frame: u32) -> [f32; 2] {
    let t = frame as f32 / 48.0;
    let swell = 0.75 + 0.25 * libm::sinf(0.31 * t);
    let x = 0.30 * libm::sinf(2.1 * t) + 0.14 * libm::sinf(4.6 * t + 0.6 * libm::sinf(0.23 * t));
    let y = 0.26 * libm::cosf(2.9 * t + 0.9 * libm::sinf(0.17 * t)) + 0.10 * libm::sinf(6.1 * t);
    [0.5 + swell * x, 0.5 + swell * y]
}
