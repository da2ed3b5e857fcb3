//! One check for every machine: a trained model, read where it lies, draws from a posterior and gives a steering gradient.
#![no_std]

pub mod check;
