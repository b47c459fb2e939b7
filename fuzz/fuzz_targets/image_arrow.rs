#![no_main]
dream_fuzz::target!("image_arrow");
