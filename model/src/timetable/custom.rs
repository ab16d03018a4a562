//! Timetables of plugins: what is known of them without Python.

use serde_json::{Value, json};

/// A timetable whose class is a plugin's own. Only Python can say when its runs happen.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomTimetable {
    /// The import path of the class.
    pub type_name: String,
    /// What the class wrote about itself when it was serialized.
    pub arguments: Value,
    /// What the class says about itself; those of Airflow's base class until Python was asked.
    pub attributes: CustomAttributes,
}

/// The attributes of `airflow.timetables.base.Timetable` that are shown or decide without a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomAttributes {
    /// The short text shown in lists.
    pub summary: String,
    /// The sentence shown to users.
    pub description: String,
    /// Whether runs recur.
    pub periodic: bool,
    /// Whether anything but a person starts runs.
    pub can_be_scheduled: bool,
    /// Whether scheduling goes by partitions.
    pub partitioned: bool,
}

impl CustomTimetable {
    /// A timetable of which nothing but its serialized form is known.
    pub fn new(type_name: String, arguments: Value) -> Self {
        let summary = type_name.rsplit('.').next().unwrap_or(&type_name).to_owned();
        let attributes = CustomAttributes {
            summary,
            description: String::new(),
            periodic: true,
            can_be_scheduled: true,
            partitioned: false,
        };
        Self { type_name, arguments, attributes }
    }

    /// The serialized form, from which Python makes the timetable again.
    pub fn serialized(&self) -> Value {
        json!({"__type": self.type_name, "__var": self.arguments})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::timetable::Timetable;

    #[test]
    fn a_class_of_a_plugin_comes_back_as_it_was_serialized() {
        let serialized = json!({"__type": "my_company.Workdays", "__var": {"country": "NL"}});
        let mut timetable = Timetable::from_serialized(&serialized).expect("any class is read");
        let custom = timetable.custom().expect("a custom timetable");
        assert_eq!(custom.serialized(), serialized);
        assert_eq!(
            (timetable.summary(), timetable.periodic(), timetable.partitioned()),
            ("Workdays".into(), true, false)
        );
        timetable.custom_mut().expect("a custom timetable").attributes.summary = "workdays of NL".to_owned();
        assert_eq!(timetable.summary(), "workdays of NL");
    }

    #[test]
    fn the_time_part_of_a_schedule_over_assets_may_be_a_plugins() {
        let part = json!({"__type": "my_company.Workdays", "__var": {}});
        let serialized = json!({
            "__type": "airflow.timetables.assets.AssetOrTimeSchedule",
            "__var": {"asset_condition": {"__type": "asset_all", "objects": []}, "timetable": part},
        });
        let timetable = Timetable::from_serialized(&serialized).expect("a timetable");
        assert_eq!(timetable.custom().map(|custom| custom.serialized()), Some(part));
    }
}
