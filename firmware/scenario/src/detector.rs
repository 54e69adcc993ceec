//! A detector of movement that goes on learning when its sensor changes: it was trained before, on another sensor.

use crate::hash::Hash;
use crate::print::Print;
use crate::weights;
use elman::{Adam, CrossEntropy, Error, Generator, Linear, Parameters, RnnCell, StepTrace, Stream};

/// Three accelerations in, two logits out: quiet, moving.
pub type Detector = (RnnCell<3, 8>, Linear<8, 2>);

/// Weights and biases of a [`Detector`].
const NUMBERS: usize = Detector::COUNT;
/// Steps that gradients go back through.
const STEPS: usize = 8;
/// Steps that the detector is judged by.
const JUDGED: u32 = 400;

/// An acceleration sensor: some time at rest, some time shaken.
struct Sensor {
    random: u32,
    steps_left: u32,
    moving: bool,
    gain: [f32; 3],
    offset: [f32; 3],
}

impl Sensor {
    fn new(gain: [f32; 3], offset: [f32; 3]) -> Self {
        Self { random: 1, steps_left: 0, moving: true, gain, offset }
    }

    /// The one that the detector was trained with.
    fn first() -> Self {
        Self::new([1.0; 3], [0.0; 3])
    }

    /// Another one: less sensitive, and not zero at rest.
    fn second() -> Self {
        Self::new([0.5, 0.5, 0.5], [0.5, -0.75, -0.5])
    }

    /// Between -1 and 1, by the generator of Numerical Recipes.
    fn noise(&mut self) -> f32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.random >> 16) as f32 / 32_768.0 - 1.0
    }

    /// The next acceleration, and whether there is movement.
    fn next(&mut self) -> ([f32; 3], bool) {
        if self.steps_left == 0 {
            self.moving = !self.moving;
            self.steps_left = 10 + (self.random >> 28);
        }
        self.steps_left -= 1;
        let size = if self.moving { 0.75 } else { 0.125 };
        let x = core::array::from_fn(|axis| {
            let gravity = if axis == 2 { 1.0 } else { 0.0 };
            let acceleration = gravity + size * self.noise();
            self.gain[axis] * acceleration + self.offset[axis]
        });
        (x, self.moving)
    }
}

/// Learns from `chunks` of steps of a sensor; shows `watch` the states.
fn learn(
    detector: &mut Detector,
    sensor: &mut Sensor,
    chunks: usize,
    learning_rate: f64,
    mut watch: impl FnMut(&[f32; 8]),
) -> Result<(), Error> {
    let mut adam = Adam::with_moments(learning_rate, [0.0; NUMBERS], [0.0; NUMBERS]);
    let (mut trace, mut gradients) = (StepTrace::<Detector, STEPS>::new(), detector.zeros_like());
    for _ in 0..chunks {
        // The state goes on, gradients end here.
        trace.clear();
        let mut d_logits = [[0.0; 2]; STEPS];
        for d_logits in &mut d_logits {
            let (x, moving) = sensor.next();
            let logits = trace.advance(detector, &x)?;
            watch(&trace.state().0);
            *d_logits = CrossEntropy::mean_of(STEPS).row(&logits, usize::from(moving))?.1;
        }
        trace.backward_into(detector, &d_logits, &mut gradients)?;
        gradients.clip_norm(1.0);
        adam.step(detector, &gradients)?;
    }
    Ok(())
}

/// Of how many steps of a sensor the detector judges rightly, without learning.
fn judge(detector: &Detector, mut sensor: Sensor, states: &mut Hash) -> u32 {
    let mut stream = Stream::new(detector);
    let mut right = 0;
    for _ in 0..JUDGED {
        let (x, moving) = sensor.next();
        let [quiet, shaken] = stream.advance(&x);
        states.add(&stream.state().0);
        right += u32::from((shaken > quiet) == moving);
    }
    right
}

/// Runs the detector of [`weights`], and nothing else.
pub fn watch(out: &mut impl Print) {
    let (mut sensor, mut states) = (Sensor::first(), Hash::EMPTY);
    let mut stream = Stream::new(&weights::DETECTOR);
    for _ in 0..JUDGED {
        let outputs = stream.advance(&sensor.next().0);
        states.add(&stream.state().0);
        states.add(&outputs);
    }
    out.hash("inference, states and outputs", states.value());
}

/// Adapts the detector of [`weights`] to another sensor.
pub fn adapt(out: &mut impl Print) {
    let (mut detector, mut states) = (weights::DETECTOR, Hash::EMPTY);
    let first = judge(&detector, Sensor::first(), &mut states);
    let before = judge(&detector, Sensor::second(), &mut states);
    let learned = learn(&mut detector, &mut Sensor::second(), 200, 0.01, |state| states.add(state));
    let after = judge(&detector, Sensor::second(), &mut states);
    if learned.is_err() {
        return out.text("detector: refused\n");
    }
    for (what, right) in [("its own sensor", first), ("another", before), ("another, adapted", after)] {
        out.text("detector, ");
        out.text(what);
        out.text(": ");
        out.number(right);
        out.text(" of ");
        out.number(JUDGED);
        out.text(" steps right\n");
    }
    out.hash("detector, states", states.value());
    out.hash("detector, weights", Hash::of_weights(&detector));
}

/// The network of [`weights`], for the program that writes them.
///
/// # Errors
///
/// None that are known.
pub fn pretrained() -> Result<Detector, Error> {
    let mut generator = Generator::seed(42);
    let mut detector = (RnnCell::new(&mut generator), Linear::new(&mut generator));
    learn(&mut detector, &mut Sensor::first(), 5_000, 0.01, |_| ())?;
    Ok(detector)
}
