#![no_main]
dream_fuzz::target!("cifar_python");
