//! The instruction sets of x86-64, one of the two places of `unsafe` (the other: `arm/`), and the macros that they are made with.
//!
//! Each takes what it needs from the list of features of its file, so that a token proves what its operations and
//! trampolines are compiled for.

/// Whether the CPU (with `std`) or the compiler's target (without) has all features of the list.
macro_rules! found {
    (($(enable = $feature:tt),+) ()) => {{
        #[cfg(feature = "std")]
        let found = $(std::is_x86_feature_detected!($feature))&&+;
        #[cfg(not(feature = "std"))]
        let found = cfg!(all($(target_feature = $feature),+));
        found
    }};
}

/// Runs a kernel in a function that is compiled for the features of the list, with an attribute if one is given.
macro_rules! trampoline {
    ($features:tt ($set:ident, $token:ident, $kernel:ident $(, $attribute:meta)?)) => {{
        #[target_feature $features]
        $(#[$attribute])?
        fn trampoline<K: Kernel>(token: $set, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: the token exists, so every feature of the list, which the trampoline enables, was found.
        unsafe { trampoline($token, $kernel) }
    }};
}

/// The operations of an instruction set that need nothing but registers: methods that are inlined always.
macro_rules! register_operations {
    ($features:tt {
        $(fn $name:ident $(<const $constant:ident: $of:ty>)? ($($x:ident: $X:ty),+) -> $Result:ty = $operation:expr;)+
    }) => {
        $(
            #[inline(always)]
            fn $name $(<const $constant: $of>)? (self, $($x: $X),+) -> $Result {
                /// Never called. It compiles only if the operation is safe code wherever the CPU has the features of the
                /// list: then it does not read or write memory through pointers.
                #[allow(dead_code, reason = "it is there to be compiled")]
                #[target_feature $features]
                fn is_safe $(<const $constant: $of>)? ($($x: $X),+) -> $Result {
                    $operation
                }
                // SAFETY: registers alone, as `is_safe` compiles; the token proves the features.
                unsafe { $operation }
            }
        )+
    };
}

/// The instruction sets, a file each. `with_sets!` hands them to the table of levels.
macro_rules! sets {
    ($($file:ident::$Set:ident = $name:literal),+ $(,)?) => {
        $(
            mod $file;
            pub(crate) use $file::$Set;
        )+

        macro_rules! with_sets {
            ($table:ident) => {
                $table! { $($Set(super::x86::$Set) = $name,)+ }
            };
        }
        pub(crate) use with_sets;
    };
}

// From the plainest to the best.
sets!(avx2::Avx2 = "avx2", avx512::Avx512 = "avx512");

/// Prefetches the cache line that the slice begins in.
#[inline(always)]
fn prefetch<const HINT: i32>(from: &[f32]) {
    // SAFETY: a prefetch, which every x86-64 has, reads nothing and cannot fault, whatever the address.
    unsafe { core::arch::x86_64::_mm_prefetch::<HINT>(from.as_ptr().cast()) }
}
