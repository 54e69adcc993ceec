//! Every kind of layer through the functions of C, against streams: bits, states, weights in PyTorch's order.
//! (`scripts/targets/c.sh` calls them from C, and checks every code.)

use elman::{Embedding, Generator, GruCell, Linear, LstmCell, Parameters, Relu, RnnCell, Step, Stream, TokenGruCell};
use elman_c::{Code, Export, Floats};
use std::array::from_fn;
use std::mem::{MaybeUninit, size_of};

type Mixed = (RnnCell<2, 5, Relu>, LstmCell<5, 3>, GruCell<3, 4>, RnnCell<4, 9>, LstmCell<9, 2>, Linear<2, 3>);
type Tokens = (Embedding<5, 3>, LstmCell<3, 4>);

const HALVES: GruCell<1, 3> = GruCell { weight_ih: [[[0.5; 3]; 3]; 1], ..GruCell::zeros() };
static FOLDED: TokenGruCell<2, 3> =
    TokenGruCell { table: [[[0.25; 3]; 4], [[-0.5; 3]; 4]], weight_hh: [[[0.125; 3]; 3]; 3], ..TokenGruCell::zeros() };

elman_c::export! {
    /// All cells, with weights of run time.
    mixed: Mixed;
    /// A const expression, of one layer alone.
    halves: GruCell<1, 3> = HALVES;
    /// Tokens, with weights of run time.
    tokens words: Tokens;
    /// Tokens of a static.
    tokens folded: TokenGruCell<2, 3> = FOLDED;
    /// Without a state.
    stateless: Linear<2, 1>;
}

/// Two models in one call, and a second call.
mod another {
    elman_c::export! {
        /// With the layers of `folded`.
        tokens twin: super::TokenGruCell<2, 3> = super::FOLDED;
    }
}

/// Memory that C has not initialized.
fn memory<E>() -> Box<MaybeUninit<E>> {
    let mut memory = Box::new(MaybeUninit::<E>::uninit());
    // SAFETY: as many bytes as there are. Some pattern, as a read of uninitialized bytes is undefined in Rust.
    unsafe { memory.as_mut_ptr().cast::<u8>().write_bytes(0x5a, size_of::<E>()) };
    memory
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

fn state<S: Floats>(state: &S) -> Vec<u32> {
    let mut all = Vec::new();
    state.visit(&mut |numbers| all.extend(bits(numbers)));
    all
}

/// The weights of layers in PyTorch's order, by the public calls of elman.
macro_rules! torch {
    ($weights:ident, cell $cell:expr) => {
        $weights.extend($cell.weight_ih_torch());
        $weights.extend($cell.weight_hh_torch());
        $weights.extend($cell.bias_ih_torch());
        $weights.extend($cell.bias_hh_torch());
    };
    ($weights:ident, linear $linear:expr) => {
        $weights.extend($linear.weight_torch());
        $weights.extend($linear.bias);
    };
}

#[test]
fn all_cells_in_one_model_with_weights_of_run_time() {
    let g = &mut Generator::seed(7);
    let model: Mixed =
        (RnnCell::new(g), RnnCell::new(g), RnnCell::new(g), RnnCell::new(g), RnnCell::new(g), Linear::new(g));
    let mut weights = Vec::new();
    torch!(weights, cell model.0);
    torch!(weights, cell model.1);
    torch!(weights, cell model.2);
    torch!(weights, cell model.3);
    torch!(weights, cell model.4);
    torch!(weights, linear model.5);
    assert_eq!(weights.len(), model.parameter_count());
    assert_eq!(mixed_weights_len(), weights.len());
    assert_eq!(mixed_state_len(), 5 + 2 * 3 + 4 + 9 + 2 * 2);

    let mut memory = memory::<mixed>();
    let memory = memory.as_mut_ptr();
    // SAFETY: memory of its type, arrays as long as they say.
    let code = unsafe { mixed_init(memory, mixed_size(), weights.as_ptr(), weights.len()) };
    assert_eq!(code, Code::Ok);
    let mut stream = Stream::new(&model);
    let mut saved = vec![0.0; mixed_state_len()];
    for step in 0..40 {
        let x = from_fn(|i| (step as f32 * 0.3 + i as f32).sin());
        let (before, mut output) = (*stream.state(), [0.0; 3]);
        // SAFETY: memory of its type, arrays as long as they say.
        unsafe {
            assert_eq!(mixed_state_get(memory, saved.as_mut_ptr(), saved.len()), Code::Ok);
            assert_eq!(bits(&saved), state(&before), "step {step}");
            // Another state for a while, and the same again.
            assert_eq!(mixed_step(memory, [9.0f32; 2].as_ptr(), 2, output.as_mut_ptr(), 3), Code::Ok);
            assert_eq!(mixed_state_set(memory, saved.as_ptr(), saved.len()), Code::Ok);
            assert_eq!(mixed_step(memory, x.as_ptr(), 2, output.as_mut_ptr(), 3), Code::Ok);
        }
        assert_eq!(bits(&output), bits(&stream.advance(&x)), "step {step}");
    }
}

#[test]
fn tokens_with_weights_of_run_time() {
    let g = &mut Generator::seed(8);
    let model: Tokens = (Embedding::new(g), RnnCell::new(g));
    let mut weights: Vec<f32> = model.0.weight_torch().collect();
    torch!(weights, cell model.1);
    let (tokens, mut outputs, mut memory) = ([4, 0, 3, 3, 1, 2], [0.0; 24], memory::<words>());
    let memory = memory.as_mut_ptr();
    // SAFETY: memory of its type, arrays as long as they say.
    unsafe {
        assert_eq!(words_init(memory, words_size(), weights.as_ptr(), weights.len()), Code::Ok);
        assert_eq!(words_process(memory, 6, tokens.as_ptr(), 6, outputs.as_mut_ptr(), 24), Code::Ok);
    }
    let mut stream = Stream::new(&model);
    for (token, output) in tokens.iter().zip(outputs.chunks(4)) {
        assert_eq!(bits(output), bits(&stream.advance_token(*token as usize).unwrap()));
    }
}

#[test]
fn one_layer_and_tokens_that_are_constants() {
    let (mut memory, mut output) = (memory::<halves>(), [0.0; 3]);
    let mut stream = Stream::new(&HALVES);
    // SAFETY: memory of its type, arrays as long as they say.
    unsafe {
        assert_eq!(halves_init(memory.as_mut_ptr(), halves_size()), Code::Ok);
        for x in [0.5, -1.0, 2.0] {
            assert_eq!(halves_step(memory.as_mut_ptr(), &x, 1, output.as_mut_ptr(), 3), Code::Ok);
            assert_eq!(bits(&output), bits(&stream.advance(&[x])));
        }
        // A new sequence.
        assert_eq!(halves_reset(memory.as_mut_ptr()), Code::Ok);
        stream.reset();
        assert_eq!(halves_step(memory.as_mut_ptr(), &1.5, 1, output.as_mut_ptr(), 3), Code::Ok);
        assert_eq!(bits(&output), bits(&stream.advance(&[1.5])));
    }
    let (mut memory, mut stream) = (self::memory::<folded>(), Stream::new(&FOLDED));
    // SAFETY: memory of its type, arrays as long as they say.
    unsafe {
        assert_eq!(folded_init(memory.as_mut_ptr(), folded_size()), Code::Ok);
        for token in [0, 1, 1] {
            assert_eq!(folded_step(memory.as_mut_ptr(), token, output.as_mut_ptr(), 3), Code::Ok);
            assert_eq!(bits(&output), bits(&stream.advance_token(token as usize).unwrap()));
        }
        // Memory of the same layers by another name is another model's.
        let mut twin = self::memory::<another::twin>();
        assert_eq!(another::twin_init(twin.as_mut_ptr(), another::twin_size()), Code::Ok);
        assert_eq!(folded_reset(twin.as_mut_ptr().cast()), Code::Uninitialized);
    }
}

#[test]
fn a_model_without_a_state_has_one_of_no_numbers() {
    let (mut memory, weights) = (memory::<stateless>(), [2.0, 3.0, 0.5]);
    let mut y = 0.0;
    // SAFETY: memory of its type, arrays as long as they say; null is one of none.
    unsafe {
        let memory = memory.as_mut_ptr();
        assert_eq!(stateless_init(memory, stateless_size(), weights.as_ptr(), 3), Code::Ok);
        assert_eq!(stateless_state_get(memory, std::ptr::null_mut(), 0), Code::Ok);
        assert_eq!(stateless_state_set(memory, std::ptr::null(), 0), Code::Ok);
        assert_eq!(stateless_step(memory, [1.0f32, 10.0].as_ptr(), 2, &mut y, 1), Code::Ok);
    }
    assert_eq!((y, stateless_state_len()), (32.5, 0));
}

/// What the header says of the size holds on every target: there is no pointer in the memory.
#[test]
fn memory_is_the_state_and_two_words() {
    assert_eq!(halves_size(), 8 + 3 * size_of::<f32>());
    assert_eq!(folded_size(), 8 + <<TokenGruCell<2, 3> as Step>::State as Floats>::LEN * 4);
    assert_eq!(halves::CONSTANTS[0], ("HALVES_WORDS", "Words of memory.", 5));
    assert_eq!((halves_align(), mixed_align()), (4, 64));
}
