//! The worker beside `vestibule`: what its binary is made of, and the loopback provider that the
//! demo and the tests run against.
// The futures of the demo are deep.
#![recursion_limit = "256"]

pub mod admin;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
mod instance;
pub mod keygen;
pub mod logs;
mod measure;
pub mod notify;
pub mod provider;
pub mod reload;
pub mod run;
pub mod sealed;
pub mod status;
pub mod sweep;
pub mod sweeper;
pub mod sweeps;
pub mod traces;
