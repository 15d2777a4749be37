//! The committed samples do what their pages say.

mod behaviour;

use skep_suite::example as sample;
