//! Medians of rounds, with how far the rounds lie apart.

/// The middle of some measurements, and their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number, the upper of the two.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of these; none of none.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        Some(Spread { median: *values.get(values.len() / 2)?, least, most })
    }

    /// How far the ends lie apart, as a part of the median.
    #[must_use]
    pub fn width(self) -> f64 {
        (self.most - self.least) / self.median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_comes_first() {
        let spread = Spread::of([3.0, 1.0, 2.0, 9.0, 2.0].into_iter());
        assert_eq!(spread, Some(Spread { median: 2.0, least: 1.0, most: 9.0 }));
        assert_eq!(spread.map(Spread::width), Some(4.0));
        assert_eq!(Spread::of([1.0, 2.0].into_iter()).map(|spread| spread.median), Some(2.0));
        assert_eq!(Spread::of(std::iter::empty()), None);
    }
}
