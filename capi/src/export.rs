//! The macro that makes the functions of C.

/// Makes functions of C for models, a line each:
///
/// ```ignore
/// elman_c::export! {
///     /// The weights are a static or const expression; the memory holds the state alone.
///     detector: (RnnCell<3, 8>, Linear<8, 2>) = DETECTOR;
///     /// The weights are given at run time, and lie in the memory too.
///     adaptive: (GruCell<3, 8>, Linear<8, 2>);
///     /// A model that takes tokens; its weights may be given in either way.
///     tokens speller: (TokenLstmCell<4, 8>, Linear<8, 4>) = SPELLER;
/// }
/// ```
///
/// A model is a layer or a tuple of up to six: `RnnCell`, `GruCell`, `LstmCell`, `Linear`, and first `Embedding` or
/// `TokenRnnCell` and the like for tokens. (`Rnn`, `Gru` and `Lstm` need a heap; a tuple of cells gives the same bits.) Each
/// line makes a type of C with its name, and functions that begin with it:
///
/// | function | what it does |
/// |---|---|
/// | `_size()`, `_align()` | what memory it takes, for C that does not use the type |
/// | `_input_len()`, `_output_len()`, `_state_len()`, `_weights_len()` | how long arrays have to be; macros of the header too |
/// | `_init(memory, size)`, or `_init(memory, size, weights, weights_len)` | makes memory ready; the state is zero |
/// | `_step(memory, input, input_len, output, output_len)` | one step; `_step(memory, token, output, output_len)` |
/// | `_process(memory, steps, inputs, inputs_len, outputs, outputs_len)` | a block of steps |
/// | `_reset(memory)` | the state is zero again |
/// | `_state_get(memory, state, state_len)`, `_state_set(..)` | copies the state out and in |
///
/// The crate that calls this also makes the final library, and needs no other `unsafe` code.
#[macro_export]
macro_rules! export {
    () => {};
    ($(#[$attribute:meta])* tokens $name:ident: $layers:ty = $weights:expr; $($rest:tt)*) => {
        $crate::export_model! { [$(#[$attribute])*] $name $layers = $weights }
        $crate::export_tokens! { $name }
        $crate::export! { $($rest)* }
    };
    ($(#[$attribute:meta])* tokens $name:ident: $layers:ty; $($rest:tt)*) => {
        $crate::export_model! { [$(#[$attribute])*] $name $layers }
        $crate::export_tokens! { $name }
        $crate::export! { $($rest)* }
    };
    ($(#[$attribute:meta])* $name:ident: $layers:ty = $weights:expr; $($rest:tt)*) => {
        $crate::export_model! { [$(#[$attribute])*] $name $layers = $weights }
        $crate::export_vectors! { $name }
        $crate::export! { $($rest)* }
    };
    ($(#[$attribute:meta])* $name:ident: $layers:ty; $($rest:tt)*) => {
        $crate::export_model! { [$(#[$attribute])*] $name $layers }
        $crate::export_vectors! { $name }
        $crate::export! { $($rest)* }
    };
}

/// The type, and how its memory is made.
#[doc(hidden)]
#[macro_export]
macro_rules! export_model {
    ([$($attribute:tt)*] $name:ident $layers:ty = $weights:expr) => { $crate::pastey::paste! {
        $($attribute)*
        ///
        /// The memory of one model: its state. It may be copied and needs no clean-up; its weights are constants.
        #[allow(non_camel_case_types)]
        #[repr(C)]
        pub struct $name {
            words: [u32; [<$name:upper _WORDS>]],
        }

        impl $crate::Export for $name {
            type Layers = $layers;
            type Weights = ();
            const NAME: &'static str = stringify!($name);
            const CONSTANTS: &'static [(&'static str, &'static str, usize)] = &[
                (stringify!([<$name:upper _WORDS>]), "Words of memory.", [<$name:upper _WORDS>]),
                (stringify!([<$name:upper _INPUT_LEN>]), "Elements of an input.", $crate::calls::input_len::<$name>()),
                (stringify!([<$name:upper _OUTPUT_LEN>]), "Numbers of an output.", $crate::calls::output_len::<$name>()),
                (stringify!([<$name:upper _STATE_LEN>]), "Numbers of a state.", $crate::calls::state_len::<$name>()),
            ];
            #[inline]
            fn layers(_: &()) -> &$layers {
                const { &$weights }
            }
        }

        /// Makes memory ready: the state is zero.
        ///
        /// `size` is how many bytes there are, `sizeof` of the type or more.
        ///
        /// # Safety
        ///
        /// There are as many bytes, that nobody else uses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn [<$name _init>](memory: *mut $name, size: usize) -> $crate::Code {
            // SAFETY: the caller's promise is the same.
            unsafe { $crate::calls::init(memory, size) }.into()
        }

        $crate::export_common! { $name }
    } };
    ([$($attribute:tt)*] $name:ident $layers:ty) => { $crate::pastey::paste! {
        $($attribute)*
        ///
        /// The memory of one model: its state and its weights. It may be copied, to memory of the same alignment, and needs no
        /// clean-up.
        #[allow(non_camel_case_types)]
        #[repr(C, align(64))]
        pub struct $name {
            words: [u32; [<$name:upper _WORDS>]],
        }

        impl $crate::Export for $name {
            type Layers = $layers;
            type Weights = $layers;
            const NAME: &'static str = stringify!($name);
            const CONSTANTS: &'static [(&'static str, &'static str, usize)] = &[
                (stringify!([<$name:upper _WORDS>]), "Words of memory.", [<$name:upper _WORDS>]),
                (stringify!([<$name:upper _INPUT_LEN>]), "Elements of an input.", $crate::calls::input_len::<$name>()),
                (stringify!([<$name:upper _OUTPUT_LEN>]), "Numbers of an output.", $crate::calls::output_len::<$name>()),
                (stringify!([<$name:upper _STATE_LEN>]), "Numbers of a state.", $crate::calls::state_len::<$name>()),
                (stringify!([<$name:upper _WEIGHTS_LEN>]), "Numbers of all weights.", $crate::calls::weights_len::<$layers>()),
            ];
            #[inline]
            fn layers(weights: &$layers) -> &$layers {
                weights
            }
        }

        /// Makes memory ready: the state is zero, the weights are copied.
        ///
        /// `size` is how many bytes there are, `sizeof` of the type or more. `weights` are the tensors of PyTorch's
        /// `parameters()` one behind the other, in their order and each in row-major order.
        ///
        /// # Safety
        ///
        /// There are as many bytes, that nobody else uses, and as many numbers.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn [<$name _init>](
            memory: *mut $name,
            size: usize,
            weights: *const f32,
            weights_len: usize,
        ) -> $crate::Code {
            let weights = $crate::calls::Array::new(weights, weights_len);
            // SAFETY: the caller's promise is the same.
            unsafe { $crate::calls::init_with_weights(memory, size, weights) }.into()
        }

        /// Numbers of all weights.
        #[unsafe(no_mangle)]
        pub extern "C" fn [<$name _weights_len>]() -> usize {
            $crate::calls::weights_len::<$layers>()
        }

        $crate::export_common! { $name }
    } };
}

/// What all models have.
#[doc(hidden)]
#[macro_export]
macro_rules! export_common {
    ($name:ident) => {
        $crate::pastey::paste! {
            const [<$name:upper _WORDS>]: usize =
                ::core::mem::size_of::<$crate::Memory<$name>>() / ::core::mem::size_of::<u32>();

            /// Bytes of memory.
            #[unsafe(no_mangle)]
            pub extern "C" fn [<$name _size>]() -> usize {
                ::core::mem::size_of::<$name>()
            }

            /// What the address of memory has to be a multiple of.
            #[unsafe(no_mangle)]
            pub extern "C" fn [<$name _align>]() -> usize {
                ::core::mem::align_of::<$name>()
            }

            /// Elements of an input.
            #[unsafe(no_mangle)]
            pub extern "C" fn [<$name _input_len>]() -> usize {
                $crate::calls::input_len::<$name>()
            }

            /// Numbers of an output.
            #[unsafe(no_mangle)]
            pub extern "C" fn [<$name _output_len>]() -> usize {
                $crate::calls::output_len::<$name>()
            }

            /// Numbers of a state.
            #[unsafe(no_mangle)]
            pub extern "C" fn [<$name _state_len>]() -> usize {
                $crate::calls::state_len::<$name>()
            }

            /// Sets the state to zero: a new sequence begins.
            ///
            /// # Safety
            ///
            /// `memory` is made ready, and nobody else uses it.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn [<$name _reset>](memory: *mut $name) -> $crate::Code {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::calls::reset(memory) }.into()
            }

            /// Copies the state out, layer after layer; of an LSTM `h` and then `c`.
            ///
            /// # Safety
            ///
            /// `memory` is made ready, there is room for as many numbers, and nobody else uses either.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn [<$name _state_get>](
                memory: *mut $name,
                state: *mut f32,
                state_len: usize,
            ) -> $crate::Code {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::calls::state_get(memory, $crate::calls::ArrayMut::new(state, state_len)) }.into()
            }

            /// Copies a state in that was copied out.
            ///
            /// # Safety
            ///
            /// `memory` is made ready, nobody else uses it, and there are as many numbers.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn [<$name _state_set>](
                memory: *mut $name,
                state: *const f32,
                state_len: usize,
            ) -> $crate::Code {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::calls::state_set(memory, $crate::calls::Array::new(state, state_len)) }.into()
            }
        }
    };
}

/// Steps of a model that takes vectors.
#[doc(hidden)]
#[macro_export]
macro_rules! export_vectors {
    ($name:ident) => {
        $crate::pastey::paste! {
            /// Goes one step on. The output may lie where the input does.
            ///
            /// # Safety
            ///
            /// `memory` is made ready, arrays are as long as they say, and nobody else uses them.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn [<$name _step>](
                memory: *mut $name,
                input: *const f32,
                input_len: usize,
                output: *mut f32,
                output_len: usize,
            ) -> $crate::Code {
                let input = $crate::calls::Array::new(input, input_len);
                let output = $crate::calls::ArrayMut::new(output, output_len);
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::calls::process(memory, 1, input, output) }.into()
            }
        }
        $crate::export_process! {
            /// Goes on by a block of steps, whose inputs lie one behind the other, and so do their outputs.
            $name, inputs: f32
        }
    };
}

/// Steps of a model that takes tokens.
#[doc(hidden)]
#[macro_export]
macro_rules! export_tokens {
    ($name:ident) => {
        $crate::pastey::paste! {
            /// Goes one step on.
            ///
            /// # Safety
            ///
            /// `memory` is made ready, the array is as long as it says, and nobody else uses them.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn [<$name _step>](
                memory: *mut $name,
                token: u32,
                output: *mut f32,
                output_len: usize,
            ) -> $crate::Code {
                let token = $crate::calls::Array::new(&raw const token, 1);
                let output = $crate::calls::ArrayMut::new(output, output_len);
                // SAFETY: the caller's promise is the same; there is one token.
                unsafe { $crate::calls::process(memory, 1, token, output) }.into()
            }
        }
        $crate::export_process! {
            /// Goes on by a block of steps, whose outputs lie one behind the other.
            $name, tokens: u32
        }
    };
}

/// A block of steps, of either kind.
#[doc(hidden)]
#[macro_export]
macro_rules! export_process {
    ($(#[$attribute:meta])+ $name:ident, $inputs:ident: $element:ty) => {
        $crate::pastey::paste! {
            $(#[$attribute])+
            ///
            /// # Safety
            ///
            /// `memory` is made ready, arrays are as long as they say, and nobody else uses them.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn [<$name _process>](
                memory: *mut $name,
                steps: usize,
                $inputs: *const $element,
                [<$inputs _len>]: usize,
                outputs: *mut f32,
                outputs_len: usize,
            ) -> $crate::Code {
                let inputs = $crate::calls::Array::new($inputs, [<$inputs _len>]);
                let outputs = $crate::calls::ArrayMut::new(outputs, outputs_len);
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::calls::process(memory, steps, inputs, outputs) }.into()
            }
        }
    };
}
