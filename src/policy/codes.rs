//! The closed table of everything that can be wrong with a document. A code never changes its meaning and is never
//! given twice; what it means and how to mend it is in [`TABLE`], from which the reference is written.

use super::error::Severity;

/// One kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The stable code.
    pub id: &'static str,
    /// The same in words.
    pub slug: &'static str,
    /// How bad it is.
    pub severity: Severity,
}

macro_rules! codes {
    ($($name:ident $severity:ident $id:literal $slug:literal $meaning:literal $fix:literal)*) => {
        $(#[doc = $meaning] pub const $name: Code = Code { id: $id, slug: $slug, severity: Severity::$severity };)*

        /// Every code with its meaning and its mending, in the order of the codes.
        #[cfg(not(target_family = "wasm"))]
        pub const TABLE: &[(Code, &str, &str)] = &[$(($name, $meaning, $fix)),*];
    };
}

codes! {
    TOO_LARGE Error "BTH0001" "too-large"
        "The document is over the limit of 4 MiB." "Split the policy, or move repeated sections into `like:` templates."
    TOO_MANY Error "BTH0002" "too-many-errors"
        "More mistakes were found than are reported." "Mend the ones shown and check again."
    SYNTAX Error "BTH0003" "syntax"
        "The text is not YAML or JSON." "Mend the text at the place shown; nothing else was checked."
    TOO_DEEP Error "BTH0004" "too-deep"
        "Sections are nested deeper than 64 levels." "Flatten the predicate; no policy needs that depth."
    DUPLICATE_KEY Error "BTH0005" "duplicate-key"
        "A name stands twice in one map, so that readers would differ about which one holds." "Remove one of the two."
    NUMBER_TOO_LARGE Error "BTH0006" "number-too-large"
        "A number is 2^53 or further from zero, where a protobuf Struct would change it silently."
        "Write a smaller number, or text where it is a name."
    YAML_FEATURE Error "BTH0007" "yaml-feature"
        "Anchors, aliases, tags and several documents in one file are refused: what a person reads must be what holds."
        "Write the value out; use `like:` for substrates that resemble one another."
    NOT_TEXT Error "BTH0008" "not-text"
        "The document is not UTF-8." "Save the file as UTF-8."
    AMBIGUOUS Warning "BTH0009" "ambiguous-scalar"
        "An unquoted word or number means one thing in YAML 1.2, as read here, and another in YAML 1.1, as kubectl reads it: `NO` becomes false, `012` becomes ten."
        "Put it in quotes."
    VERSION Error "BTH0010" "unsupported-version"
        "The schema version is missing or is not one that this release reads." "Begin the document with `berth: 1`."
    UNKNOWN_FIELD Error "BTH0011" "unknown-field"
        "A field is not part of the schema; ignoring it would leave its author believing that it holds."
        "Correct its name or remove it; `berth schema` lists the fields."
    MISSING_FIELD Error "BTH0012" "missing-field"
        "A field without a default is missing." "Add it."
    WRONG_TYPE Error "BTH0013" "wrong-type"
        "A value is of another type than its field." "Write the type that is expected; quote text that looks like a number."
    OUT_OF_BOUNDS Error "BTH0014" "out-of-bounds"
        "A number lies outside the bounds of its field." "Write a number within the bounds."
    TOO_FINE Error "BTH0015" "too-fine"
        "A number has more decimals than its unit keeps; rounding it would change what was agreed." "Write fewer decimals."
    UNKNOWN_WORD Error "BTH0016" "unknown-word"
        "The word is not one of the words of its field." "Write one of the words that are expected."
    BAD_NAME Error "BTH0017" "bad-name"
        "Names are `[a-z][a-z0-9-]{0,62}`, so that they are safe in headers, logs and metrics." "Rename it."
    BAD_COUNT Error "BTH0018" "bad-count"
        "A list or map has too few or too many items." "Keep it within the bounds."
    BAD_TEXT Error "BTH0019" "bad-text"
        "A text is empty, too long, or holds characters that its field cannot carry." "Shorten or correct it."
    BAD_TIME Error "BTH0020" "bad-time"
        "A time or date cannot be read." "Write `2026-11-30` or `2026-11-30T12:00:00Z`."
    REPEATED Error "BTH0021" "repeated"
        "A list says the same thing twice." "Remove the repetition."
    UNKNOWN_JURISDICTION Error "BTH0101" "unknown-jurisdiction"
        "Neither an ISO 3166-1 alpha-2 code nor a set that `jurisdictions` names."
        "Write a code such as `FR` (the United Kingdom is `GB`), or define the set."
    UNKNOWN_SUBSTRATE Error "BTH0102" "unknown-substrate"
        "A substrate is named that the policy does not declare." "Declare it, or correct the name."
    UNKNOWN_CLASS Error "BTH0103" "unknown-class"
        "A class is named that the policy does not declare." "Declare it, or correct the name."
    UNKNOWN_ZONE Error "BTH0104" "unknown-zone"
        "A link leads to a zone in which no substrate stands." "Correct the zone; `to` is a substrate's zone, `from` a caller's."
    DUPLICATE_NAME Error "BTH0105" "duplicate-name"
        "Two things of one kind have the same name." "Rename one of them."
    DUPLICATE_CLUSTER Error "BTH0106" "duplicate-cluster"
        "Two substrates lead to the same Envoy cluster, so that records could not tell them apart."
        "Give each substrate its own cluster."
    TEMPLATE_CYCLE Error "BTH0107" "template-cycle"
        "`like:` leads back to where it began, or through more than eight substrates." "Break the chain."
    OVER_WHOLE Error "BTH0108" "over-the-whole"
        "Shares that divide one whole add up to more than it." "Lower them."
    CONTRADICTION Error "BTH0109" "contradiction"
        "Two fields contradict one another." "Change one of them."
    EMPTY_PREDICATE Error "BTH0110" "empty-predicate"
        "A condition asks nothing; `all: []` says on purpose that it always holds." "Say what it asks."
    UNFIT_TEST Error "BTH0111" "unfit-test"
        "A test cannot be made on this fact: `min` and `max` are for numbers, `prefix` and `in` for text."
        "Use a test that fits the fact."
    RESERVED_HEADER Error "BTH0112" "reserved-header"
        "The header is Berth's or Envoy's own and is removed before anybody could read it." "Look at another header."
    NO_CANDIDATE Warning "BTH0201" "no-candidate"
        "For requests of this class under this envelope no substrate is left, before health or cost are even looked at."
        "Widen the envelope, add a substrate, or accept that these requests are refused."
    UNUSED_SUBSTRATE Warning "BTH0202" "unused-substrate"
        "No envelope permits this substrate to any class." "Permit it somewhere, or remove it."
    SHADOWED_CLASS Warning "BTH0203" "shadowed-class"
        "An earlier class takes every request that this one would match." "Move the more particular class up."
    HOME_OUTSIDE Warning "BTH0204" "home-outside"
        "A home of the class is permitted by no envelope that could apply to the class." "Permit it, or take it out of `home`."
    ONE_DOMAIN Warning "BTH0205" "one-failure-domain"
        "All homes of the class fail together, so that a fallback among them saves nothing."
        "Add a home in another failure domain."
    IDLE_WORTH Warning "BTH0206" "idle-worth"
        "What the class is worth cannot move a decision: all its terms are 0, or one weighs what is the same for every substrate."
        "Set `worth`; drop the term, or let what it weighs differ."
    IDLE_NAME Warning "BTH0207" "names-nothing"
        "An envelope names an account, region, regime or kind that no substrate has: a slip of the pen would look like this."
        "Correct the name or remove the line."
    NO_ENVELOPE Warning "BTH0208" "no-envelope"
        "No envelope can apply to this class, so that all its requests are refused." "Write an envelope for it."
    UNSAFE_DEFAULT Warning "BTH0209" "unsafe-default"
        "The first home of the default class, where unknown requests go, is outside an envelope that could apply to them."
        "Choose a first home that every envelope permits."
    COPIES_DIFFER Warning "BTH0210" "copies-differ"
        "The roles of one manifest hold different policies: one would be told of health by names that the other does not know."
        "Give both the same policy; render the manifest anew."
    EXPIRED_APPROVAL Warning "BTH0211" "expired-approval"
        "An approval has run out: nothing that needs it is permitted any more." "Renew it, or take it out."
    IDLE_HEDGE Warning "BTH0212" "idle-hedge"
        "A class may be hedged, but not repeated, or has one attempt: what is done twice must be repeatable, so that only idempotent methods, and with one attempt nothing, are hedged."
        "Say `repeatable: true` and more than one attempt, or take `hedge` out."
    NOTHING_TOGETHER Warning "BTH0213" "nothing-together"
        "Two envelopes that can apply to one request each leave these classes a substrate, and together they leave none. Pairs are looked at, not three or more; two that ask for different values of one fact cannot apply together, nor can one that asks for what the class's own conditions, or those of an earlier class, exclude."
        "Widen one of the two, add a substrate that both permit, or accept that requests under both are refused."
    UNSAFE_OTHERWISE Warning "BTH0214" "unsafe-otherwise"
        "Requests that nobody places, whosever they are, go to a substrate that an envelope does not permit: `otherwise` of a deployment file."
        "Name a substrate that every envelope permits, or leave `otherwise` out: then such requests are refused."
    LEFT_AUTHORITY Warning "BTH0215" "left-authority"
        "A substrate at an address has no `authority`, and another has one, or a name of its own: a request that was tried there first is asked of this one under the other's name, for the router knows no better." "Give each substrate its `authority`."
    IDLE_RESERVE Warning "BTH0216" "idle-reserve"
        "A part of a substrate is kept for a tenant that cannot use all of it: no envelope lets the tenant onto the substrate, nothing else in the policy names the tenant where others are named, or `tenant_share` gives it less than is kept for it. What is kept is nobody else's either."
        "Correct the tenant's name, permit the substrate to it, or keep less."
    IDLE_LISTENER Warning "BTH0217" "idle-listener"
        "The deployment file says of its listener what is not rendered here: the listeners of Istio and Envoy Gateway are their own."
        "Say it there, to the gateway; leave it for an Envoy of its own."
    WIDENS Error "BTH0301" "override-widens"
        "A local override would allow what the global policy does not." "An override may only narrow; change the global policy instead."
    UNKNOWN_TARGET Error "BTH0302" "unknown-target"
        "An override or a case speaks about something that the policy does not declare." "Correct the name."
    NO_POLICY Error "BTH0401" "no-policy"
        "The file holds neither a policy nor a plugin configuration with one in it." "Give a policy, or the manifest that embeds it."
}

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn codes_are_in_order_and_given_once() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].0.id < pair[1].0.id, "{} before {}", pair[0].0.id, pair[1].0.id);
            assert!(TABLE.iter().filter(|(c, ..)| c.slug == pair[0].0.slug).count() == 1, "{}", pair[0].0.slug);
        }
    }
}
