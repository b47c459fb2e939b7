#![no_main]
dream_fuzz::target!("downsampled");
