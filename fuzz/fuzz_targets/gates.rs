#![cfg_attr(fuzzing, no_main)]
elman_fuzz::fuzz_target!(gates);
