#![no_main]
dream_fuzz::target!("torch_pickle");
