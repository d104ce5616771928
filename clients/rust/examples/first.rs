//! A first prediction, and what it turned out to be.

use turnout_client::outcomes::v1::outcome::Subject;
use turnout_client::outcomes::v1::outcome_service_client::OutcomeServiceClient;
use turnout_client::outcomes::v1::{Outcome, RecordOutcomesRequest};
use turnout_client::serving::v1::PredictRequest;
use turnout_client::serving::v1::prediction_service_client::PredictionServiceClient;
use turnout_client::tensor::v1::{DataType, Tensor};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::var("TURNOUT_DATA_SERVER").unwrap_or("127.0.0.1:8001".into());
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?.connect().await?;

    let flower = Tensor {
        name: "flower".into(),
        data_type: DataType::Float32 as i32,
        shape: vec![1, 4],
        data: [5.1f32, 3.5, 1.4, 0.2].iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let (model, unit_id) = ("iris".into(), "flower-1".into());
    let ask = PredictRequest { model, unit_id, inputs: vec![flower], ..Default::default() };
    let answer = PredictionServiceClient::new(channel.clone()).predict(ask).await?.into_inner();

    let chances = answer.outputs.iter().find(|one| one.name == "probabilities").ok_or("no probabilities")?;
    let chance = f32::from_le_bytes(chances.data[4..8].try_into()?);
    println!("version {}: a virginica by {chance:.3}", answer.version);

    let subject = Some(Subject::RequestId(answer.request_id));
    let outcome = Outcome { subject, name: "virginica".into(), value: 0.0, ..Default::default() };
    OutcomeServiceClient::new(channel).record_outcomes(RecordOutcomesRequest { outcomes: vec![outcome] }).await?;
    Ok(())
}
