//! Countries (ISO 3166-1 alpha-2) and the policy's named sets of them.

use super::{
    codes,
    error::hint,
    order,
    source::{Form, Shape, Wrong},
    tree::Value,
};
use crate::model::Country;

/// Every assigned code.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY \
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK \
    FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR \
    IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK \
    ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM \
    PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF \
    TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Whether a text is an assigned code.
fn is_assigned(text: &str) -> bool {
    text.len() == 2 && CODES.split(' ').any(|code| code == text)
}

fn country(text: &str) -> Option<Country> {
    is_assigned(text).then(|| Country::parse(text)).flatten()
}

/// One country by its code.
#[derive(Clone, Copy, Debug)]
pub struct OneCountry;

impl Form for OneCountry {
    type Out = Country;
    fn read(&self, value: &Value) -> Result<Country, Wrong> {
        const EXPECTED: &str = "an ISO 3166-1 alpha-2 country code such as FR";
        let Value::Text(text) = value else { return Err(Wrong::new(codes::WRONG_TYPE, EXPECTED)) };
        country(text).ok_or_else(|| Wrong::new(codes::UNKNOWN_JURISDICTION, EXPECTED))
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^[A-Z]{2}$", most: 2 }
    }
    fn show(&self, value: &Country) -> String {
        value.to_string()
    }
}

/// The name of a set of countries: not two capitals, so that no set can hide a country.
#[derive(Clone, Copy, Debug)]
pub struct SetName;

impl Form for SetName {
    type Out = String;
    fn read(&self, value: &Value) -> Result<String, Wrong> {
        const EXPECTED: &str = "a name of up to 63 letters, digits and hyphens that is no country code";
        let Value::Text(text) = value else { return Err(Wrong::new(codes::WRONG_TYPE, EXPECTED)) };
        let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if !fits || !starts || text.len() > 63 || is_assigned(text) {
            return Err(Wrong::new(codes::BAD_NAME, EXPECTED));
        }
        Ok(text.clone())
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^[A-Za-z][A-Za-z0-9-]{0,62}$", most: 63 }
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

/// A country by its code, or a set by its name; what becomes of it is countries.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a>(pub &'a [(String, Vec<Country>)]);

impl Form for Places<'_> {
    type Out = Vec<Country>;
    fn read(&self, value: &Value) -> Result<Vec<Country>, Wrong> {
        let names = || self.0.iter().map(|(name, _)| name.as_str());
        let expected = |text: &str| {
            let sets = if self.0.is_empty() {
                String::from("of which none is defined")
            } else {
                names().collect::<Vec<_>>().join(", ")
            };
            format!("an ISO 3166-1 alpha-2 country code, or a set of `jurisdictions` ({sets}){}", hint(text, names()))
        };
        let Value::Text(text) = value else { return Err(Wrong::new(codes::WRONG_TYPE, expected(""))) };
        let set = self.0.iter().find(|(name, _)| name == text).map(|(_, countries)| countries.clone());
        set.or_else(|| Some(vec![country(text)?]))
            .ok_or_else(|| Wrong::new(codes::UNKNOWN_JURISDICTION, expected(text)))
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^[A-Za-z][A-Za-z0-9-]{0,62}$", most: 63 }
    }
    fn show(&self, value: &Vec<Country>) -> String {
        value.iter().map(Country::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// Countries in order, without repeats.
#[must_use]
pub fn sorted(countries: impl IntoIterator<Item = Country>) -> Vec<Country> {
    let mut countries = order::sorted(countries.into_iter().collect(), Country::cmp);
    countries.dedup();
    countries
}
