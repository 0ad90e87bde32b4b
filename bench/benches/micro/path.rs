//! A path: one piece of the server's work with everything around it made ready, so that a round does nothing else.

/// One pass along a path.
pub(crate) type Round = Box<dyn FnMut()>;

/// A piece of work that can be repeated.
pub(crate) struct Path {
    name: &'static str,
    items: u64,
    prepare: Box<dyn Fn() -> Round>,
}

impl Path {
    /// A path under a name like `area/what`, of which a round does one.
    pub(crate) fn new<F: FnMut() + 'static>(name: &'static str, prepare: impl Fn() -> F + 'static) -> Self {
        Self { name, items: 1, prepare: Box::new(move || Box::new(prepare())) }
    }

    /// A round does so many of what the name says.
    pub(crate) fn of(self, items: u64) -> Self {
        Self { items, ..self }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// What the path belongs to: the name up to its slash.
    pub(crate) fn area(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(area, _)| area)
    }

    /// The name behind its slash.
    pub(crate) fn rest(&self) -> &'static str {
        self.name.split_once('/').map_or("", |(_, rest)| rest)
    }

    /// How many of what the name says a round does.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// Makes everything ready.
    pub(crate) fn prepare(&self) -> Round {
        (self.prepare)()
    }
}
