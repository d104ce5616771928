//! The tour: every kind of call against a gateway that the environment names, and what is answered. All clients print
//! the same. `tour load FILE` makes calls, four at a time, until there is that file, and says how many failed.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use turnout_client::outcomes::v1::outcome::Subject;
use turnout_client::outcomes::v1::outcome_service_client::OutcomeServiceClient;
use turnout_client::outcomes::v1::{Outcome, OutcomeStatus, RecordOutcomesRequest, StreamOutcomesRequest};
use turnout_client::serving::v1::prediction_service_client::PredictionServiceClient;
use turnout_client::serving::v1::stream_predict_response::Result as Answer;
use turnout_client::serving::v1::{
    BatchPredictRequest, PredictRequest, PredictResponse, PredictionError, StreamPredictRequest,
};
use turnout_client::tensor::v1::{DataType, Tensor};

const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call of the load may take: the first ones wait for connections, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);
const ATTEMPTS_MAX: usize = 5;

type Failure = Box<dyn Error>;
type Gateway = InterceptedService<Channel, Said>;

/// What each call says beside its request: who asks, and the caller's trace.
#[derive(Clone, Default)]
struct Said {
    authorization: Option<AsciiMetadataValue>,
    traceparent: Option<AsciiMetadataValue>,
}

impl Interceptor for Said {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        self.authorization.clone().map(|value| metadata.insert("authorization", value));
        self.traceparent.clone().map(|value| metadata.insert("traceparent", value));
        Ok(request)
    }
}

/// The gateways, which take calls in turn; tonic has no policy for that, nor does it retry.
struct Gateways {
    each: Vec<Gateway>,
    turn: AtomicUsize,
}

impl Gateways {
    /// Returns the gateways that the environment names. Nothing is connected before the first call.
    fn connect() -> Result<Self, Failure> {
        let addresses = std::env::var("TURNOUT_DATA_SERVER").unwrap_or("127.0.0.1:8001".into());
        let authority = std::env::var("TURNOUT_TLS_CA").ok().map(std::fs::read).transpose()?;
        let mut said = Said::default();
        if let Ok(path) = std::env::var("TURNOUT_TOKEN_FILE") {
            said.authorization = Some(format!("Bearer {}", std::fs::read_to_string(path)?.trim()).parse()?);
        }
        if let Ok(trace) = std::env::var("TOUR_TRACE") {
            said.traceparent = Some(format!("00-{trace}-00000000000000aa-01").parse()?);
        }
        let endpoints = addresses.split(',').map(|address| match &authority {
            None => Endpoint::from_shared(format!("http://{address}")),
            Some(pem) => Endpoint::from_shared(format!("https://{address}"))?
                .tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))),
        });
        let each = endpoints.map(|endpoint| Ok(InterceptedService::new(endpoint?.connect_lazy(), said.clone())));
        Ok(Self { each: each.collect::<Result<_, Failure>>()?, turn: AtomicUsize::new(0) })
    }

    fn next(&self) -> Gateway {
        self.at(self.turn.fetch_add(1, Ordering::Relaxed))
    }

    fn at(&self, turn: usize) -> Gateway {
        self.each[turn % self.each.len()].clone()
    }
}

fn floats(name: &str, values: &[f32], shape: &[i64]) -> Tensor {
    Tensor {
        name: name.into(),
        data_type: DataType::Float32 as i32,
        shape: shape.to_vec(),
        data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

fn row(model: &str, values: &[f32]) -> PredictRequest {
    PredictRequest {
        model: model.into(),
        unit_id: "u".into(),
        inputs: vec![floats("x", values, &[1, values.len() as i64])],
        ..Default::default()
    }
}

fn scores(answer: &PredictResponse) -> String {
    let (elements, _) = answer.outputs[0].data.as_chunks::<4>();
    let texts = elements.iter().map(|bytes| ((f32::from_le_bytes(*bytes) * 1000.0) as i64).to_string());
    texts.collect::<Vec<_>>().join(" ")
}

/// Asks a gateway for a prediction, and the one after it while none answers, with a pause before a new round. A
/// request that names its id is the same prediction each time.
async fn predict(gateways: &Gateways, asked: &PredictRequest, timeout: Duration) -> Result<PredictResponse, Status> {
    let mut pause = Duration::from_millis(100);
    let turn = gateways.turn.fetch_add(1, Ordering::Relaxed);
    for attempt in 1.. {
        let mut request = Request::new(asked.clone());
        request.set_timeout(timeout);
        match PredictionServiceClient::new(gateways.at(turn + attempt)).predict(request).await {
            Err(status) if unreached(&status) && attempt < ATTEMPTS_MAX => {}
            answered => return answered.map(tonic::Response::into_inner),
        }
        if attempt % gateways.each.len() == 0 {
            tokio::time::sleep(pause).await;
            pause *= 3;
        }
    }
    unreachable!()
}

/// Says whether a call ended because no gateway answered: by its code, or where the connection broke under it, since
/// a gateway's own refusals always have details.
fn unreached(status: &Status) -> bool {
    let broke = status.details().is_empty() && status.source().is_some() && status.code() != Code::DeadlineExceeded;
    status.code() == Code::Unavailable || broke
}

fn code(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn refusal<A>(answer: Result<A, Status>) -> String {
    let status = answer.err().expect("the call was answered");
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default();
    format!("{} {reason}", code(status.code()))
}

fn row_refusal(error: &PredictionError) -> String {
    format!("{} {}", code(error.code.into()), error.reason)
}

async fn tour(gateways: &Gateways) -> Result<(), Failure> {
    let pairs = [("driver", "d3"), ("city", "basel")].map(|(key, value)| (key.into(), value.into()));
    let basel = PredictRequest {
        model: "ride".into(),
        unit_id: "d3".into(),
        entities: BTreeMap::from(pairs),
        features: BTreeMap::from([("hour".into(), 7.0)]),
        ..Default::default()
    };
    let answer = predict(gateways, &basel, TIMEOUT).await?;
    let views = answer.feature_status.iter().map(|view| view.status().as_str_name()["VIEW_STATUS_".len()..].to_string());
    println!("entity: {} {}", scores(&answer), views.collect::<Vec<_>>().join(" "));
    let tensor = predict(gateways, &row("ride", &[1.0, 2.0, 3.0, 4.0]), TIMEOUT).await?;
    println!("tensor: {}", scores(&tensor));
    batch(gateways).await?;
    stream(gateways).await?;
    outcomes(gateways, &answer.request_id).await?;
    println!("missing: {}", refusal(predict(gateways, &row("nobody", &[1.0; 4]), TIMEOUT).await));
    println!("invalid: {}", refusal(predict(gateways, &row("ride", &[1.0; 3]), TIMEOUT).await));
    let times = Tensor {
        name: "times".into(),
        data_type: DataType::Int64 as i32,
        shape: vec![1],
        data: 2000i64.to_le_bytes().to_vec(),
    };
    let slow = PredictRequest { inputs: vec![times], ..row("slow", &[]) };
    let late = tokio::time::timeout(Duration::from_millis(100), predict(gateways, &slow, TIMEOUT)).await;
    println!("deadline: {}", if late.is_err() { "DEADLINE_EXCEEDED" } else { "answered" });
    Ok(())
}

async fn batch(gateways: &Gateways) -> Result<(), Failure> {
    let table: Vec<f32> = (1..=12).map(|value| value as f32).collect();
    let request = BatchPredictRequest {
        model: "ride".into(),
        rows: 3,
        unit_ids: ["a", "b", "c"].map(String::from).to_vec(),
        request_ids: ["", "two words", ""].map(String::from).to_vec(),
        inputs: vec![floats("x", &table, &[3, 4])],
        ..Default::default()
    };
    let response = PredictionServiceClient::new(gateways.next()).batch_predict(request).await?.into_inner();
    let rows: Vec<_> = response.parts.iter().flat_map(|part| &part.rows).map(i32::to_string).collect();
    let errors = response.errors.iter().filter_map(|one| Some(format!("{} {}", one.row, row_refusal(one.error.as_ref()?))));
    let refused = errors.collect::<Vec<_>>().join(", ");
    println!("batch: rows {} answered; refused {refused}", rows.join(" "));
    Ok(())
}

async fn stream(gateways: &Gateways) -> Result<(), Failure> {
    let messages = ["ride", "nobody", "ride"].map(|model| StreamPredictRequest {
        request: Some(row(model, &[1.0, 2.0, 3.0, 4.0])),
        timeout_ms: None,
    });
    let mut client = PredictionServiceClient::new(gateways.next());
    let mut talk = client.stream_predict(tokio_stream::iter(messages)).await?.into_inner();
    let mut answers = vec![];
    while let Some(response) = talk.message().await? {
        answers.push(match response.result.ok_or("an empty answer")? {
            Answer::Prediction(prediction) => scores(&prediction),
            Answer::Error(error) => row_refusal(&error),
        });
    }
    println!("stream: {}", answers.join(", "));
    Ok(())
}

async fn outcomes(gateways: &Gateways, request_id: &str) -> Result<(), Failure> {
    let mut client = OutcomeServiceClient::new(gateways.next());
    let late = |subject, outcome_id: &str| Outcome {
        subject: Some(subject),
        name: "late".into(),
        value: 1.0,
        outcome_id: outcome_id.into(),
        ..Default::default()
    };
    let of_unit = late(Subject::UnitId("d3".into()), "1");
    let message = StreamOutcomesRequest { outcomes: vec![of_unit.clone(), of_unit] };
    let mut talk = client.stream_outcomes(tokio_stream::iter([message])).await?.into_inner();
    while let Some(response) = talk.message().await? {
        println!("stream of outcomes: {} acknowledged", response.results.len());
    }
    let good = late(Subject::RequestId(request_id.into()), "");
    let nameless = Outcome { name: String::new(), ..good.clone() };
    let response = client.record_outcomes(RecordOutcomesRequest { outcomes: vec![good, nameless] }).await?.into_inner();
    let said = |at: usize| match response.results[at].status() {
        OutcomeStatus::Recorded => "recorded".to_string(),
        OutcomeStatus::Invalid => format!("INVALID_ARGUMENT {}", response.results[at].reason),
        _ => format!("UNAVAILABLE {}", response.results[at].reason),
    };
    println!("outcome: {}; without a name {}", said(0), said(1));
    Ok(())
}

/// Makes calls until there is the file, and says when a hundred are answered: then a gateway may be killed.
async fn load(gateways: &Gateways, until: &Path) {
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let versions = Mutex::new(BTreeSet::new());
    let lane = async || {
        while !until.exists() {
            let number = done.fetch_add(1, Ordering::Relaxed) + 1;
            let asked = PredictRequest { request_id: format!("load-{number}"), ..row("ride", &[1.0, 2.0, 3.0, 4.0]) };
            match predict(gateways, &asked, PATIENCE).await {
                Ok(answer) => drop(versions.lock().unwrap().insert(answer.version.to_string())),
                Err(status) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    eprintln!("{status:?}");
                }
            }
            if number == 100 {
                println!("under load");
            }
        }
    };
    tokio::join!(lane(), lane(), lane(), lane());
    let versions = versions.into_inner().unwrap().into_iter().collect::<Vec<_>>().join(" ");
    println!("load: {} failed, versions {versions}", failed.into_inner());
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let gateways = Gateways::connect()?;
    match std::env::args().nth(2) {
        Some(until) => load(&gateways, Path::new(&until)).await,
        None => tour(&gateways).await?,
    }
    Ok(())
}
