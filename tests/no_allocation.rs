//! What is made once and used again allocates nothing: streams never, traces and gradients from the second time on.

use elman::{
    Adam, Batch, Chunked, CrossEntropy, Embedding, Generator, Gru, GruCell, Level, Linear, Lstm, LstmCell, Model,
    Parameters, Rnn, RnnCell, Sequences, SequencesBuf, StepBackward, StepTrace, Steps, Stream, Streams, TokenGruCell,
    TokenLstmCell, TokenRnnCell, Workspace,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The system's allocator, counting the calls of the threads that want it, while they want it: the test harness allocates
/// too, on threads of its own and on a test's thread before and after the test.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);
thread_local!(static COUNTED: Cell<bool> = const { Cell::new(false) });

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.get() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            let live = LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
            PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNTED.get() {
            LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the pointer comes from `System`, through the functions here.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does `work` with its allocations counted if they are on this thread.
fn counted<R>(work: impl FnOnce() -> R) -> R {
    COUNTED.set(true);
    let result = work();
    COUNTED.set(false);
    result
}

/// The allocations while `work` runs, on this thread and on those of the test's pool. Tests run one after the other, so
/// that they do not count each other's.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    counted(work);
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

fn one_at_a_time(test: impl FnOnce()) {
    static RUNNING: Mutex<()> = Mutex::new(());
    let _guard = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    test();
}

#[test]
fn the_counter_counts() {
    one_at_a_time(|| assert_eq!(allocations(|| drop(std::hint::black_box(vec![1, 2, 3]))), 1));
}

#[test]
fn streams_allocate_nothing() {
    one_at_a_time(|| {
        let mut generator = Generator::seed(1);
        let (embedding, cell) = (Embedding::<7, 5>::new(&mut generator), RnnCell::<5, 33>::new(&mut generator));
        let head = Linear::<33, 3>::new(&mut generator);
        let rnn = Rnn::<5, 17, 3>::new(&mut generator);
        for level in Level::available() {
            let mut vectors = Stream::new((cell, head)).at(level);
            let mut tokens = Stream::new((embedding, &rnn)).at(level);
            let mut folded = Stream::new((TokenRnnCell::new(&embedding, &cell), head)).at(level);
            let mut voices = Streams::<_, 5>::new(cell).at(level);
            let count = allocations(|| {
                for step in 0..100 {
                    std::hint::black_box(vectors.advance(&[step as f32; 5]));
                    std::hint::black_box(tokens.advance_token(step % 7).unwrap());
                    std::hint::black_box(folded.advance_token(step % 7).unwrap());
                    std::hint::black_box(voices.advance(&[[0.5; 5]; 5]));
                    voices.reset(step % 5);
                }
                vectors.reset();
                assert!(tokens.advance_token(7).is_err());
            });
            assert_eq!(count, 0, "{level}");
        }
    });
}

#[test]
fn streams_of_gates_allocate_nothing() {
    one_at_a_time(|| {
        let mut generator = Generator::seed(1);
        let embedding = Embedding::<7, 5>::new(&mut generator);
        let (gru, lstm) = (GruCell::<5, 33>::new(&mut generator), LstmCell::<5, 33>::new(&mut generator));
        let head = Linear::<33, 3>::new(&mut generator);
        let stacks = (Gru::<5, 9, 2>::new(&mut generator), Lstm::<9, 9, 2>::new(&mut generator));
        for level in Level::available() {
            let mut of_gru = Stream::new((&gru, head)).at(level);
            let mut of_lstm = Stream::new((&lstm, head)).at(level);
            let mut of_stacks = Stream::new((embedding, (&stacks.0, &stacks.1))).at(level);
            let mut folded_gru = Stream::new(TokenGruCell::new(&embedding, &gru)).at(level);
            let mut folded_lstm = Stream::new(TokenLstmCell::new(&embedding, &lstm)).at(level);
            let mut voices = Streams::<_, 5>::new(&lstm).at(level);
            let (mut h, mut states) = ([0.0; 33], [([0.0; 33], [0.0; 33]); 3]);
            let (mut of_gru_step, mut of_lstm_step) = (GruCell::zeros(), LstmCell::zeros());
            let count = allocations(|| {
                for step in 0..20 {
                    let x = [step as f32; 5];
                    std::hint::black_box(of_gru.advance(&x));
                    std::hint::black_box(of_lstm.advance(&x));
                    std::hint::black_box(of_stacks.advance_token(step % 7).unwrap());
                    std::hint::black_box(folded_gru.advance_token(step % 7).unwrap());
                    std::hint::black_box(folded_lstm.advance_token(step % 7).unwrap());
                    std::hint::black_box(voices.advance(&[[0.5; 5]; 5]));
                    voices.reset(step % 5);
                    let (before, before_of_lstm) = (h, states[0]);
                    gru.at(level).step_in_place(&x, &mut h);
                    lstm.at(level).step_batch_in_place(&[x; 3], &mut states).unwrap();
                    let d = gru.at(level).step_backward_add(&x, &before, &h, &[0.1; 33], &mut of_gru_step);
                    let d_state = ([0.1; 33], [0.2; 33]);
                    let of_lstm =
                        lstm.at(level).step_backward_add(&x, &before_of_lstm, &states[0], &d_state, &mut of_lstm_step);
                    std::hint::black_box((d, of_lstm));
                }
                of_lstm.reset();
            });
            assert_eq!(count, 0, "{level}");
        }
    });
}

/// Trains a model of `N` parameters on the stack.
fn step_by_step<M: StepBackward<Input = usize, Output = [f32; 4]> + Copy, const N: usize>(mut model: M) {
    let mut gradients = model;
    let mut trace = StepTrace::<_, 5>::new();
    let mut adam = Adam::with_moments(0.05, [0.0; N], [0.0; N]);
    let count = allocations(|| {
        for _ in 0..10 {
            trace.reset();
            let mut d_outputs = [[0.0; 4]; 5];
            for (step, (token, target)) in [1, 0, 2, 2, 3].into_iter().zip([3, 1, 2, 3, 2]).enumerate() {
                let logits = trace.advance(&model, &token).unwrap();
                d_outputs[step] = CrossEntropy::sum().row(&logits, target).unwrap().1;
            }
            trace.backward_into(&model, &d_outputs, &mut gradients).unwrap();
            adam.step(&mut model, &gradients).unwrap();
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn training_of_gates_step_by_step_allocates_nothing() {
    one_at_a_time(|| {
        let mut generator = Generator::seed(1);
        let model = (
            Embedding::<4, 10>::new(&mut generator),
            (GruCell::<10, 8>::new(&mut generator), LstmCell::<8, 8>::new(&mut generator)),
            Linear::<8, 4>::new(&mut generator),
        );
        step_by_step::<_, 1132>(model);
    });
}

/// Passes over batches and over one sample, of few neurons and of so many that its inputs are projected first, from given
/// states, and chunks; from the second time on.
#[test]
fn passes_of_gates_allocate_nothing_from_the_second_time_on() {
    one_at_a_time(|| {
        let mut generator = Generator::seed(1);
        let model = (
            Embedding::<20, 12>::new(&mut generator),
            (Gru::<12, 9, 2>::new(&mut generator), Lstm::<9, 16, 2>::new(&mut generator)),
            (LstmCell::<16, 64>::new(&mut generator), GruCell::<64, 70>::new(&mut generator)),
            Linear::<70, 20>::new(&mut generator),
        );
        let tokens: Vec<usize> = (0..40 * 19).map(|i| i * i % 20).collect();
        let mut chunked = Chunked::new(32).unwrap();
        let (mut workspace, mut gradients) = (Workspace::new(), model.zeros_like());
        let mut d_logits = SequencesBuf::default();
        let zeros = |rows: usize| (vec![[0.0; 16]; 2 * rows], vec![[0.0; 16]; 2 * rows]);
        let states = [1, 19].map(|rows| {
            let of_cells = ((vec![[0.1; 64]; rows], vec![[0.2; 64]; rows]), vec![[0.3; 70]; rows]);
            ((), (vec![[0.5; 9]; 2 * rows], zeros(rows)), of_cells, ())
        });
        let loss = CrossEntropy::mean();
        let (mut state, initial) = Default::default();
        let mut once = || {
            for (batch, state) in [1, 19].into_iter().zip(&states) {
                let tokens = &tokens[..40 * batch];
                let tokens = Sequences::time_major(tokens, Steps(40), Batch(batch)).unwrap();
                let pass = workspace.forward_from(&model, tokens, state).unwrap().with_d_final(state);
                loss.loss_into(pass.output(), tokens, &mut d_logits).unwrap();
                pass.backward_into(&d_logits, &mut gradients).unwrap();
                let pass = workspace.forward_continued(&model, tokens).unwrap();
                pass.backward_add(&d_logits, &mut gradients).unwrap();
            }
            let tokens = &tokens[..100];
            chunked.forward(&model, tokens, &mut state, |_, _| ()).unwrap();
            let of_chunk = |steps, logits: Sequences<'_, _>, d: &mut _| loss.loss_into(logits, &tokens[steps], d);
            chunked.train_into(&model, tokens, &initial, &mut gradients, of_chunk).unwrap();
        };
        // On this thread: a thread of rayon allocates when it first looks for work.
        rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap().install(|| {
            once();
            assert_eq!(allocations(&mut once), 0);
        });
    });
}

#[test]
fn training_step_by_step_allocates_nothing() {
    one_at_a_time(|| {
        let mut generator = Generator::seed(1);
        let model = (
            Embedding::<4, 10>::new(&mut generator),
            RnnCell::<10, 8>::new(&mut generator),
            Linear::<8, 4>::new(&mut generator),
        );
        step_by_step::<_, 236>(model);
    });
}

/// Long sequences in chunks, with and without checkpoints, from the second time on.
#[test]
fn chunks_allocate_nothing_from_the_second_time_on() {
    one_at_a_time(|| {
        let mut generator = Generator::seed(1);
        let model = (
            Embedding::<20, 12>::new(&mut generator),
            (Rnn::<12, 16, 2>::new(&mut generator), RnnCell::<16, 8>::new(&mut generator)),
            Linear::<8, 20>::new(&mut generator),
        );
        let tokens: Vec<usize> = (0..100).map(|i| i * i % 20).collect();
        let mut chunked = Chunked::new(32).unwrap();
        let (mut state, initial) = Default::default();
        let (mut workspace, mut gradients) = (Workspace::new(), model.zeros_like());
        let mut d_logits = SequencesBuf::default();
        let loss = CrossEntropy::mean_of(100);
        let mut once = || {
            chunked.forward(&model, &tokens, &mut state, |_, _| ()).unwrap();
            let of_chunk = |steps, logits: Sequences<'_, _>, d: &mut _| loss.loss_into(logits, &tokens[steps], d);
            chunked.train_into(&model, &tokens, &initial, &mut gradients, of_chunk).unwrap();
            for chunk in tokens.chunks(50) {
                let pass = workspace.forward_continued(&model, chunk).unwrap();
                loss.loss_into(pass.output(), chunk, &mut d_logits).unwrap();
                pass.backward_add(&d_logits, &mut gradients).unwrap();
            }
        };
        once();
        assert_eq!(allocations(once), 0);
    });
}

/// A training step of a character model, from the second on; the batch is large enough for several threads.
#[test]
fn training_allocates_nothing_from_the_second_step_on() {
    const STEPS: usize = 33;
    const BATCH: usize = 50;
    one_at_a_time(|| {
        for threads in [1, 2, 4] {
            let mut generator = Generator::seed(1);
            let mut model = (
                Embedding::<20, 12>::new(&mut generator),
                Rnn::<12, 40, 2>::new(&mut generator),
                Linear::<40, 20>::new(&mut generator),
            );
            let tokens: Vec<usize> = (0..STEPS * BATCH).map(|i| i * i % 20).collect();
            let tokens = Sequences::time_major(&tokens, Steps(STEPS), Batch(BATCH)).unwrap();
            let mut gradients = model.zeros_like();
            let mut workspace = Workspace::new();
            let mut d_logits = SequencesBuf::default();
            let mut adam = Adam::new(1e-3);
            let mut step = || {
                let pass = workspace.forward(&model, tokens).unwrap();
                CrossEntropy::mean().loss_into(pass.output(), tokens, &mut d_logits).unwrap();
                pass.backward_into(&d_logits, &mut gradients).unwrap();
                adam.step(&mut model, &gradients).unwrap();
            };
            // A scoped pool, because it waits for its threads: none of them is counted into another test, nor what they
            // allocate when they are gone for the pool and tidy up.
            let builder = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .start_handler(|_| COUNTED.set(true))
                .exit_handler(|_| COUNTED.set(false));
            let in_pool = builder.build_scoped(
                |thread| thread.run(),
                |pool| {
                    pool.install(|| {
                        step();
                        // A thread of rayon allocates once, when it first looks for work, which may be late: of several
                        // rounds the best one counts.
                        let mut round = || {
                            let before = ALLOCATIONS.load(Ordering::SeqCst);
                            (0..10).for_each(|_| step());
                            ALLOCATIONS.load(Ordering::SeqCst) - before
                        };
                        (0..5).map(|_| round()).min()
                    })
                },
            );
            let count = in_pool.unwrap();
            assert_eq!(count, Some(0), "{threads} threads");
        }
    });
}

/// 100,000 steps: the hidden states alone would take 12.8 MB, and as much again the gradients of the logits.
#[test]
fn long_sequences_take_the_memory_of_a_chunk() {
    const STEPS: usize = 100_000;
    one_at_a_time(|| {
        let mut generator = Generator::seed(1);
        let model = (
            Embedding::<20, 12>::new(&mut generator),
            Rnn::<12, 32, 1>::new(&mut generator),
            Linear::<32, 20>::new(&mut generator),
        );
        let tokens: Vec<usize> = (0..STEPS).map(|i| i * i % 20).collect();
        let mut gradients = model.zeros_like();
        let loss = CrossEntropy::mean_of(STEPS);
        let peak_of = |work: &mut dyn FnMut()| {
            let before = LIVE_BYTES.load(Ordering::SeqCst);
            PEAK_BYTES.store(before, Ordering::SeqCst);
            counted(&mut *work);
            PEAK_BYTES.load(Ordering::SeqCst) - before
        };
        let training = peak_of(&mut || {
            let mut chunked = Chunked::new(320).unwrap();
            let train =
                chunked.train_into(&model, &tokens, &Default::default(), &mut gradients, |steps, logits, d_logits| {
                    loss.loss_into(logits, &tokens[steps], d_logits)
                });
            assert!(train.unwrap() > 1.0);
        });
        // A chunk: 320 rows of 12 + 32 + 2 * 20 numbers and their gradients; 313 states; packed weights.
        assert!(training < 600_000, "{training} bytes");
        let inference = peak_of(&mut || {
            let mut state = Default::default();
            Chunked::new(64).unwrap().forward(&model, &tokens, &mut state, |_, _| ()).unwrap();
        });
        assert!(inference < 100_000, "{inference} bytes");
        let whole = peak_of(&mut || {
            let pass = model.forward(&tokens).unwrap();
            let d_logits = loss.loss(pass.output(), &tokens).unwrap().1;
            let mut at_once = pass.backward(&d_logits).unwrap();
            let mut same = true;
            at_once.visit_with(&gradients, &mut |a, b| same &= a == b);
            assert!(same, "the gradients of chunks are not those of the whole");
        });
        assert!(whole > 20_000_000, "the measure measures: {whole} bytes");
    });
}
