//! Counts the instructions of a step: of the network, and of the loops that a user would write instead.
//!
//! QEMU's `-icount shift=0` makes every instruction take a nanosecond of the board's time; its SysTick counts 25 MHz of that time,
//! one tick for 40 instructions.
#![no_std]
#![no_main]

use core::arch::asm;
use core::hint::black_box;
use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use device::{Host, end, stack_of};
use elman::{Linear, RnnCell, Stream};
use scenario::detector::Detector;
use scenario::print::Print;
use scenario::weights::DETECTOR;

const STEPS: u32 = 4_000;
const INSTRUCTIONS_PER_TICK: u32 = 40;

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut out = Host::new();
    if let Some(peripherals) = Peripherals::take() {
        let mut timer = peripherals.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(0xff_ffff);
        timer.clear_current();
        timer.enable_counter();
    }
    let inputs = [[0.1, -0.2, 0.9], [0.4, 0.3, 1.2]];

    count(&mut out, "a loop of 1000 instructions", |_| known());
    let mut stream = Stream::new(&DETECTOR);
    count(&mut out, "elman", |step| {
        black_box(advance(&mut stream, &inputs[step as usize % 2]));
    });
    let stack = stack_of(|| _ = black_box(advance(&mut stream, &inputs[0])));
    out.text("device, stack of a step: ");
    out.number(stack);
    out.text(" bytes\n");
    let mut state = [0.0; 8];
    count(&mut out, "plain loop", |step| {
        black_box(plain_loop(&DETECTOR, &inputs[step as usize % 2], &mut state));
    });
    end(&mut out)
}

/// Prints how many instructions a step takes, to the nearest one, with the few of the loop around it.
fn count(out: &mut Host, name: &str, mut step: impl FnMut(u32)) {
    let before = SYST::get_current();
    for i in 0..STEPS {
        step(i);
    }
    let ticks = before.wrapping_sub(SYST::get_current()) & 0xff_ffff;
    out.text("device, ");
    out.text(name);
    out.text(": ");
    out.number((ticks * INSTRUCTIONS_PER_TICK + STEPS / 2) / STEPS);
    out.text(" instructions\n");
}

/// 1000 instructions, to see that they are counted.
fn known() {
    // SAFETY: it changes the register that it names and the flags; the loop ends after 500 rounds of two instructions, less
    // one for the move.
    unsafe {
        asm!("movw {n}, #500", "2:", "subs {n}, {n}, #1", "bne 2b", n = out(reg) _, options(nomem, nostack));
    }
}

#[inline(never)]
fn advance(stream: &mut Stream<&'static Detector>, x: &[f32; 3]) -> [f32; 2] {
    stream.advance(x)
}

/// The same network as a loop over neurons, with `libm`'s tanh.
#[inline(never)]
fn plain_loop((cell, linear): &Detector, x: &[f32; 3], h: &mut [f32; 8]) -> [f32; 2] {
    let RnnCell { weight_ih, weight_hh, bias_ih, bias_hh, .. } = cell;
    let mut next = [0.0; 8];
    for n in 0..8 {
        let mut sum = bias_ih[n] + bias_hh[n];
        for i in 0..3 {
            sum += weight_ih[i][n] * x[i];
        }
        for i in 0..8 {
            sum += weight_hh[i][n] * h[i];
        }
        next[n] = libm::tanhf(sum);
    }
    *h = next;
    let Linear { weight, bias } = linear;
    let mut y = *bias;
    for n in 0..2 {
        for i in 0..8 {
            y[n] += weight[i][n] * h[i];
        }
    }
    y
}
