use serde::Deserialize;

use crate::hooks::BudgetRequest;

macro_rules! limits {
    ($($name:ident, $default:expr, $about:literal;)*) => {
        /// What one instance may spend.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Budget {
            $(#[doc = $about] pub $name: u64,)*
        }

        /// Ceilings of a policy; what is left out is the default of [`Budget`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Ceiling {
            $(#[doc = $about] pub $name: Option<u64>,)*
        }

        impl Default for Budget {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Budget {
            /// Each limit's name, value and meaning, for reports and the documentation.
            pub fn rows(&self) -> Vec<(&'static str, u64, &'static str)> {
                vec![$((stringify!($name), self.$name, $about),)*]
            }

            /// What is asked for, clamped to the ceiling; what is not asked for is the default, clamped likewise.
            pub fn granted(asked: &BudgetRequest, ceiling: &Ceiling) -> Self {
                let default = Self::default();
                Self {
                    $($name: asked
                        .$name
                        .unwrap_or(default.$name)
                        .min(ceiling.$name.unwrap_or(default.$name)),)*
                }
            }
        }

        impl Ceiling {
            /// The ceiling where `self` says one, else that of `outer`.
            pub fn or(&self, outer: &Self) -> Self {
                Self { $($name: self.$name.or(outer.$name),)* }
            }
        }
    };
}

limits! {
    fuel, 100_000_000, "Fuel of one call, about one unit an instruction";
    deadline_ms, 1_000, "Milliseconds of one call";
    pages, 256, "Pages of 64 KiB that all memories may have";
    stack_bytes, 512 << 10, "Bytes of the host's stack that one call may use";
    table_elements, 10_000, "Elements that all tables may have";
    output_bytes, 4 << 20, "Bytes of one response";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_what_was_asked_for_below_the_ceiling() {
        let asked = BudgetRequest { fuel: Some(10), pages: Some(1 << 40), ..BudgetRequest::default() };
        let ceiling = Ceiling { fuel: Some(100), deadline_ms: Some(5), ..Ceiling::default() };
        let budget = Budget::granted(&asked, &ceiling);
        assert_eq!((budget.fuel, budget.deadline_ms, budget.pages), (10, 5, Budget::default().pages));
        let raised = Ceiling { pages: Some(1_000), ..Ceiling::default() };
        assert_eq!(Budget::granted(&asked, &raised).pages, 1_000);
    }
}
