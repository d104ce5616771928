//! Requests are the bytes that all clients make of ../vectors.json.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::Value;
use turnout_client::serving::v1::PredictRequest;
use turnout_client::serving::v1::predict_request::Pin;
use turnout_client::tensor::v1::{DataType, Tensor};

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().into()
}

fn number<N: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> N {
    value.as_str().unwrap().parse().unwrap()
}

fn map<V>(vector: &Value, name: &str, read: impl Fn(&Value) -> V) -> BTreeMap<String, V> {
    let entries = vector[name].as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), read(value))).collect()
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn element(dtype: &str, value: &Value) -> Vec<u8> {
    match dtype {
        "BOOL" => vec![u8::from(number::<bool>(value))],
        "INT8" => number::<i8>(value).to_le_bytes().to_vec(),
        "INT16" => number::<i16>(value).to_le_bytes().to_vec(),
        "INT32" => number::<i32>(value).to_le_bytes().to_vec(),
        "INT64" => number::<i64>(value).to_le_bytes().to_vec(),
        "UINT8" => number::<u8>(value).to_le_bytes().to_vec(),
        "UINT16" | "FLOAT16" => number::<u16>(value).to_le_bytes().to_vec(),
        "UINT32" => number::<u32>(value).to_le_bytes().to_vec(),
        "UINT64" => number::<u64>(value).to_le_bytes().to_vec(),
        "FLOAT32" => number::<f32>(value).to_le_bytes().to_vec(),
        "FLOAT64" => number::<f64>(value).to_le_bytes().to_vec(),
        "STRING" => {
            let bytes = value.as_str().unwrap().as_bytes();
            [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
        }
        _ => panic!("{dtype}"),
    }
}

fn tensor(input: &Value) -> Tensor {
    let dtype = text(input, "dtype");
    Tensor {
        name: text(input, "name"),
        data_type: DataType::from_str_name(&format!("DATA_TYPE_{dtype}")).unwrap() as i32,
        shape: list(input, "shape").map(number).collect(),
        data: list(input, "values").flat_map(|value| element(&dtype, value)).collect(),
    }
}

fn request(vector: &Value) -> PredictRequest {
    let pin = match (&vector["version"], &vector["alias"]) {
        (version @ Value::String(_), _) => Some(Pin::Version(number(version))),
        (_, Value::String(alias)) => Some(Pin::Alias(alias.clone())),
        _ => None,
    };
    PredictRequest {
        model: text(vector, "model"),
        pin,
        entities: map(vector, "entities", |value| value.as_str().unwrap().into()),
        unit_id: text(vector, "unit_id"),
        event_time_us: vector.get("event_time_us").map(number),
        request_id: text(vector, "request_id"),
        attributes: map(vector, "attributes", |value| value.as_str().unwrap().into()),
        inputs: list(vector, "inputs").map(tensor).collect(),
        features: map(vector, "features", number),
    }
}

#[test]
fn requests_are_the_bytes_that_all_clients_make() {
    let data = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&data).unwrap();
    assert!(vectors.len() >= 20);
    for vector in &vectors {
        let made: String = request(vector).encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(made, text(vector, "bytes"), "{}", text(vector, "case"));
    }
}
