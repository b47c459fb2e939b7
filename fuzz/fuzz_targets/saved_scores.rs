#![no_main]
dream_fuzz::target!("saved_scores");
