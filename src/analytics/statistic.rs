//! Which statistics there are: what each is summed from, by what it can be grouped, and which tables it depends on.

/// A statistic of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    Overview,
    Bookings,
    Messages,
    Conversations,
    Leads,
    Funnel,
    Campaigns,
    Ai,
    AiUsage,
    Revenue,
    ResponseTimes,
    SalesDashboard,
    InboxDashboard,
    BookingsDashboard,
}

/// A metric that a statistic is summed from, and how its dimension is read: `parts` values joined by `/`, after the group if it
/// has one in front, which may be any text.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub metric: &'static str,
    parts: usize,
    group: Group,
}

/// What of a sum's dimension is its group.
#[derive(Clone, Copy, Debug)]
enum Group {
    /// Nothing: the sum is of all groups together, and what the groups leave of it is that of rows without one.
    All,
    /// What is in front of the parts.
    Front,
    /// This part.
    Part(usize),
    /// Nothing, and there are no groups.
    None,
}

/// Something that a statistic can be grouped by.
#[derive(Clone, Copy, Debug)]
pub struct Grouping {
    /// Its name in `group_by`.
    pub name: &'static str,
    pub sources: &'static [Source],
}

const fn all(metric: &'static str, parts: usize) -> Source {
    Source { metric, parts, group: Group::All }
}

const fn front(metric: &'static str, parts: usize) -> Source {
    Source { metric, parts, group: Group::Front }
}

const fn part(metric: &'static str, parts: usize, place: usize) -> Source {
    Source { metric, parts, group: Group::Part(place) }
}

const fn plain(metric: &'static str, parts: usize) -> Source {
    Source { metric, parts, group: Group::None }
}

const fn by(name: &'static str, sources: &'static [Source]) -> Grouping {
    Grouping { name, sources }
}

/// What members did.
pub static AGENTS: [Source; 5] = [
    front("messages.member", 1),
    front("responses.member", 1),
    front("conversations.assignee", 1),
    front("leads.assignee", 2),
    front("closed.assignee", 2),
];

static OVERVIEW: [Source; 10] = [
    plain("bookings", 2),
    plain("messages", 3),
    plain("messages.cost", 1),
    plain("conversations", 2),
    plain("leads", 2),
    plain("closed", 2),
    plain("ai.input", 1),
    plain("ai.output", 1),
    plain("ai.cost", 1),
    plain("responses", 1),
];

static BOOKINGS: [Grouping; 3] = [
    by("status", &const { [part("bookings", 2, 0)] }),
    by("service", &const { [all("bookings", 2), front("bookings.service", 2)] }),
    by("staff", &const { [all("bookings", 2), front("bookings.staff", 2)] }),
];

static MESSAGES: [Grouping; 4] = [
    by("direction", &const { [part("messages", 3, 0)] }),
    by("author", &const { [part("messages", 3, 1)] }),
    by("status", &const { [part("messages", 3, 2)] }),
    by("member", &const { [all("messages", 3), front("messages.member", 1)] }),
];

static CONVERSATIONS: [Grouping; 3] = [
    by("channel", &const { [part("conversations", 2, 0)] }),
    by("status", &const { [part("conversations", 2, 1)] }),
    by("assignee", &const { [all("conversations", 2), front("conversations.assignee", 1)] }),
];

static LEADS: [Grouping; 4] = [
    by("status", &const { [part("leads", 2, 0), part("closed", 2, 0)] }),
    by("source", &const { [all("leads", 2), all("closed", 2), front("leads.source", 2), front("closed.source", 2)] }),
    by(
        "campaign",
        &const { [all("leads", 2), all("closed", 2), front("leads.campaign", 2), front("closed.campaign", 2)] },
    ),
    by(
        "assignee",
        &const { [all("leads", 2), all("closed", 2), front("leads.assignee", 2), front("closed.assignee", 2)] },
    ),
];

static FUNNEL: [Grouping; 3] = [
    by("source", &const { [all("leads", 2), all("leads.first_touch", 1), front("leads.source", 2)] }),
    by("campaign", &const { [all("leads", 2), all("leads.first_touch", 1), front("leads.campaign", 2)] }),
    by("assignee", &const { [all("leads", 2), all("leads.first_touch", 1), front("leads.assignee", 2)] }),
];

/// Campaigns are always told apart.
static CAMPAIGNS: [Grouping; 1] =
    [by("campaign", &const { [front("leads.campaign", 2), front("closed.campaign", 2)] })];

static AI: [Grouping; 1] =
    [by("model", &const { [part("ai.input", 1, 0), part("ai.output", 1, 0), part("ai.cost", 1, 0)] })];

/// The sources of runs of models, grouped by one of their parts: the model, which may be any text, and the outcome.
const fn runs_by(group: Group) -> [Source; 6] {
    const fn of(metric: &'static str, group: Group) -> Source {
        Source { metric, parts: 2, group }
    }
    [
        of("ai_runs", group),
        of("ai_runs.input", group),
        of("ai_runs.cached", group),
        of("ai_runs.output", group),
        of("ai_runs.cost", group),
        of("ai_runs.latency", group),
    ]
}

static AI_RUNS: [Source; 6] = runs_by(Group::None);

static AI_USAGE: [Grouping; 2] =
    [by("model", &const { runs_by(Group::Part(0)) }), by("outcome", &const { runs_by(Group::Part(1)) })];

static RESPONSES: [Grouping; 1] = [by("member", &const { [all("responses", 1), front("responses.member", 1)] })];

/// The sources of the parts of dashboards, some of which are statistics by themselves.
pub mod dashboard {
    use super::{Source, front, plain};

    pub static LEADS: [Source; 2] = [plain("leads", 2), plain("closed", 2)];
    pub static FUNNEL: [Source; 2] = [plain("leads", 2), plain("leads.first_touch", 1)];
    pub static SOURCES: [Source; 2] = [front("leads.source", 2), front("closed.source", 2)];
    pub static CAMPAIGNS: [Source; 2] = [front("leads.campaign", 2), front("closed.campaign", 2)];
    pub static ASSIGNEES: [Source; 2] = [front("leads.assignee", 2), front("closed.assignee", 2)];
    pub static SALES: [Source; 3] = [LEADS[0], LEADS[1], FUNNEL[1]];
    pub static SALES_RANKED: [Source; 6] =
        [SOURCES[0], SOURCES[1], CAMPAIGNS[0], CAMPAIGNS[1], ASSIGNEES[0], ASSIGNEES[1]];

    pub static MESSAGES: [Source; 1] = [plain("messages", 3)];
    pub static CONVERSATIONS: [Source; 1] = [plain("conversations", 2)];
    pub static RESPONSES: [Source; 1] = [plain("responses", 1)];
    pub static RESPONDERS: [Source; 1] = [front("responses.member", 1)];
    pub static INBOX: [Source; 3] = [MESSAGES[0], CONVERSATIONS[0], RESPONSES[0]];

    pub static BOOKINGS: [Source; 1] = [plain("bookings", 2)];
    pub static SERVICES: [Source; 1] = [front("bookings.service", 2)];
    pub static STAFF: [Source; 1] = [front("bookings.staff", 2)];
    pub static CALENDAR_RANKED: [Source; 2] = [SERVICES[0], STAFF[0]];
}

impl Statistic {
    /// Those by day, week or month.
    pub const SERIES: [Self; 9] = [
        Self::Bookings,
        Self::Messages,
        Self::Conversations,
        Self::Leads,
        Self::Campaigns,
        Self::Ai,
        Self::AiUsage,
        Self::Revenue,
        Self::ResponseTimes,
    ];

    /// Returns its sources where nothing is grouped.
    pub fn sources(self) -> &'static [Source] {
        match self {
            Self::Overview => &OVERVIEW,
            Self::Bookings | Self::Revenue => const { &[plain("bookings", 2)] },
            Self::Messages => const { &[plain("messages", 3)] },
            Self::Conversations => const { &[plain("conversations", 2)] },
            Self::Leads => &dashboard::LEADS,
            Self::Funnel => &dashboard::FUNNEL,
            Self::Campaigns => &dashboard::CAMPAIGNS,
            Self::Ai => const { &[plain("ai.input", 1), plain("ai.output", 1), plain("ai.cost", 1)] },
            Self::AiUsage => &AI_RUNS,
            Self::ResponseTimes => const { &[plain("responses", 1)] },
            Self::SalesDashboard => &dashboard::SALES,
            Self::InboxDashboard => &dashboard::INBOX,
            Self::BookingsDashboard => &dashboard::BOOKINGS,
        }
    }

    /// Returns what it can be grouped by.
    pub fn groupings(self) -> &'static [Grouping] {
        match self {
            Self::Overview | Self::SalesDashboard | Self::InboxDashboard | Self::BookingsDashboard => &[],
            Self::Bookings => &BOOKINGS,
            // Of bookings, without their status.
            Self::Revenue => &BOOKINGS[1..],
            Self::Messages => &MESSAGES,
            Self::Conversations => &CONVERSATIONS,
            Self::Leads => &LEADS,
            Self::Funnel => &FUNNEL,
            Self::Campaigns => &CAMPAIGNS,
            Self::Ai => &AI,
            Self::AiUsage => &AI_USAGE,
            Self::ResponseTimes => &RESPONSES,
        }
    }

    /// Returns the sources of the rankings of a dashboard.
    pub fn ranked(self) -> &'static [Source] {
        match self {
            Self::SalesDashboard => &dashboard::SALES_RANKED,
            Self::InboxDashboard => &dashboard::RESPONDERS,
            Self::BookingsDashboard => &dashboard::CALENDAR_RANKED,
            _ => &[],
        }
    }

    /// Whether it is divided by day, week or month.
    pub fn is_series(self) -> bool {
        !matches!(self, Self::Overview | Self::Funnel)
    }

    /// Whether it is what a screen shows, which is always compared with the period before.
    pub fn is_dashboard(self) -> bool {
        matches!(self, Self::SalesDashboard | Self::InboxDashboard | Self::BookingsDashboard)
    }

    /// Returns the tables of the rows that it counts.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Overview => &["bookings", "messages", "conversations", "leads"],
            Self::Bookings | Self::Revenue => &["bookings"],
            Self::Messages | Self::Ai => &["messages"],
            Self::AiUsage => &["ai_runs"],
            Self::Conversations => &["conversations"],
            Self::Leads | Self::Funnel | Self::Campaigns => &["leads"],
            Self::ResponseTimes => &["messages", "conversations"],
            Self::SalesDashboard => &["leads", "campaigns", "memberships", "users"],
            Self::InboxDashboard => &["messages", "conversations", "memberships", "users"],
            Self::BookingsDashboard => &["bookings", "services", "staff"],
        }
    }

    /// Returns the first columns of its file, where it is divided by groups and has none.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Funnel => &["stage", "group", "reached", "current", "lost", "conversion", "from_previous"],
            _ => &["bucket", "group"],
        }
    }

    /// Returns its name in paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Bookings => "bookings",
            Self::Messages => "messages",
            Self::Conversations => "conversations",
            Self::Leads => "leads",
            Self::Funnel => "funnel",
            Self::Campaigns => "campaigns",
            Self::Ai => "ai",
            Self::AiUsage => "ai-usage",
            Self::Revenue => "revenue",
            Self::ResponseTimes => "response-times",
            Self::SalesDashboard => "sales",
            Self::InboxDashboard => "inbox",
            Self::BookingsDashboard => "bookings",
        }
    }
}

/// A dimension, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts<'d> {
    pub group: Option<&'d str>,
    pub values: Vec<&'d str>,
    /// Whether it is of rows of all groups, of which the groups have to be taken away.
    pub is_of_all: bool,
}

impl Source {
    /// Takes `dim` apart.
    pub fn split(self, dim: &str) -> Parts<'_> {
        let is_of_all = matches!(self.group, Group::All);
        // From the end: the group in front may be any text.
        let pieces = if matches!(self.group, Group::Front) { self.parts + 1 } else { self.parts };
        let mut values: Vec<&str> = dim.rsplitn(pieces, '/').collect();
        values.reverse();
        let group = match self.group {
            Group::All | Group::None => None,
            Group::Front => Some(values.remove(0)),
            Group::Part(place) => values.get(place).copied(),
        };
        Parts { group, values, is_of_all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_takes_the_group_from_the_front() {
        let source = front("closed.source", 2);
        let parts = source.split("trade/fair/won/EUR");
        assert_eq!(parts, Parts { group: Some("trade/fair"), values: vec!["won", "EUR"], is_of_all: false });
        assert_eq!(source.split("/lost/").group, Some(""));
        assert_eq!(part("messages", 3, 1).split("outbound/user/sent").group, Some("user"));
        assert_eq!(part("ai.input", 1, 0).split("a/b").group, Some("a/b"));
        assert!(all("leads", 2).split("won").is_of_all);
    }
}
