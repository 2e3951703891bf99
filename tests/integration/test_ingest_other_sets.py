"""Mappings for sets that nobody here made: the mapping language can say what each of them needs."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from beforehand.ingest import IngestReport, run
from beforehand.settings import Settings
from tests.ingesting import NOW, figures, rejects, rows


def load(engine: Engine, folder: Path, data: Path, mapping: str) -> IngestReport:
    path = folder / "sources.yaml"
    path.write_text(mapping, encoding="utf-8")
    return run(engine, path, now=NOW, settings=Settings(_env_file=None, var=folder / "var"), data=data)


def test_cdnow_is_fixed_width_without_keys(sqlite_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    mapping = """
defaults: {zone: America/New_York, currency: USD, times: "%Y%m%d"}
sources:
  purchases:
    file: cdnow/CDNOW_master.txt.gz
    format: fixed
    columns: {customer: 2-6, day: 8-15, quantity: 16-18, amount: 19-26}
    duplicates: drop
load:
  - {into: customers, from: purchases, group_by: customer, fields: {created_at: {min: day}}}
  - into: orders
    from: purchases
    key: {concat: [customer, day, "@line"], with: "-"}
    fields: {customer: customer, placed_at: day, net_total: amount}
"""
    report = load(sqlite_engine, tmp_path, shared_data, mapping)
    assert report.fine
    assert report.sources["purchases"].read == 69_659
    assert report.sources["purchases"].left_out.total() == 255
    assert figures(report, "customers") == (23_544, 0, 0, 0)
    assert figures(report, "orders") == (69_404, 0, 0, 0)
    [(free, unlinked)] = rows(sqlite_engine, "SELECT sum(net_total = 0), sum(customer_id IS NULL) FROM orders")
    assert (free, unlinked) == (80, 0)
    assert rows(sqlite_engine, "SELECT external_id FROM customer ORDER BY id LIMIT 1") == [("00001",)]


def test_complete_journey(sqlite_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    mapping = """
data: nowhere
defaults: {zone: America/New_York, currency: USD}
sources:
  sales: transactions_sample.csv.gz
  people: demographics.csv.gz
  redemptions: coupon_redemptions.csv.gz
  campaigns: campaign_descriptions.csv.gz
  sent: campaigns.csv.gz
  products: products.csv.gz
load:
  - {into: customers, from: sales, group_by: household_id, fields: {created_at: {min: transaction_timestamp}}}
  - into: customers
    from: people
    key: household_id
    attributes:
      income: income
      kids: {from: kids_count, map: {3+: "3", Unknown: ~, None/Unknown: ~}, else: {from: kids_count}, as: integer}
  - {into: products, from: products, key: product_id, fields: {name: product_type, category: product_category}}
  - into: orders
    from: sales
    group_by: basket_id
    fields:
      customer: household_id
      placed_at: {min: transaction_timestamp}
      net_total: {sum: sales_value}
  - into: lines
    from: sales
    key: {concat: [basket_id, product_id], with: "-"}
    fields: {order: basket_id, product: product_id, quantity: quantity, net_total: sales_value}
  - into: events
    from: sent
    join: [{source: campaigns, on: campaign_id}]
    key: {concat: [campaign_id, household_id], with: "-"}
    fields: {customer: household_id, name: {value: campaign}, happened_at: campaigns.start_date}
    properties: {campaign: campaign_id, type: campaigns.campaign_type}
  - into: vouchers
    from: redemptions
    key: {concat: [household_id, coupon_upc, campaign_id, redemption_date], with: "-"}
    fields: {customer: household_id, worth: {value: "1"}, currency: {value: USD}, redeemed_at: redemption_date}
"""
    report = load(sqlite_engine, tmp_path, shared_data / "completejourney", mapping)
    assert not report.problems
    assert figures(report, "orders")[1:] == (0, 0, 0)
    assert report.tables["products"].new == 92_331
    found = rows(sqlite_engine, "SELECT json_extract(attributes, '$.kids') FROM customer WHERE external_id = '1'")
    assert found == [(0,)]
    assert report.tables["events"].new == 6_589
    total = rows(sqlite_engine, "SELECT sum(net_total) FROM orders WHERE currency = 'USD'")
    assert total == rows(sqlite_engine, "SELECT sum(net_total) FROM order_line")


def test_support_tickets_with_line_breaks(sqlite_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    mapping = """
sources: {tickets: support-tickets/customer_support_tickets.csv.gz}
load:
  - into: customers
    from: tickets
    group_by: Customer Email
    fields:
      first_name: {from: Customer Name, extract: '^(\\S+)'}
      last_name: {from: Customer Name, extract: '\\s(.+)$'}
      email: Customer Email
    attributes: {age: {max: Customer Age, as: integer}}
  - into: tickets
    from: tickets
    key: Ticket ID
    fields:
      customer: {email: Customer Email}
      topic: Ticket Subject
      priority: {from: Ticket Priority, map: {Critical: urgent, High: high, Medium: normal, Low: low}}
      channel: {from: Ticket Channel, case: lower}
      opened_at: Date of Purchase
      answered_at: First Response Time
      closed_at: {from: Time to Resolution, when: {Ticket Status: Closed}}
      satisfaction: Customer Satisfaction Rating
"""
    report = load(sqlite_engine, tmp_path, shared_data, mapping)
    assert report.fine, rejects(report)[:3]
    assert figures(report, "tickets") == (8_469, 0, 0, 0)
    found = "SELECT count(*), count(customer_id), count(closed_at), count(satisfaction) FROM ticket"
    assert rows(sqlite_engine, found) == [(8_469, 8_469, 2_769, 2_769)]


def test_telco_with_blanks_and_whole_number_booleans(sqlite_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    mapping = """
defaults: {currency: USD, zone: America/Los_Angeles}
sources: {people: telco-churn/Telco-Customer-Churn.csv.gz}
load:
  - into: customers
    from: people
    key: customerID
    attributes:
      senior: {from: SeniorCitizen, as: boolean}
      partner: {from: Partner, as: boolean}
      security: {from: OnlineSecurity, map: {No internet service: "no"}, else: {from: OnlineSecurity}, as: boolean}
      total: {from: TotalCharges, as: number}
  - into: subscriptions
    from: people
    key: customerID
    fields:
      customer: customerID
      plan: Contract
      price: MonthlyCharges
      started_at: {value: "2020-01-01", minus: {months: tenure}}
      ended_at: {value: "2020-01-01", when: {Churn: "Yes"}}
"""
    report = load(sqlite_engine, tmp_path, shared_data, mapping)
    assert report.fine, rejects(report)[:3]
    asked = "count(*), sum(json_extract(attributes, '$.senior')), count(json_extract(attributes, '$.total'))"
    found = rows(sqlite_engine, f"SELECT {asked} FROM customer")
    assert found == [(7_043, 1_142, 7_032)]
    began = "SELECT started_at, price FROM subscription WHERE external_id = '5575-GNVDE'"
    march = datetime(2017, 3, 1, 8, tzinfo=UTC)  # midnight of 2020-01-01 in Los Angeles, 34 months before
    assert rows(sqlite_engine, began) == [(int(march.timestamp()) * 1_000_000, 5_695)]
    assert rows(sqlite_engine, "SELECT count(ended_at) FROM subscription") == [(1_869,)]


def test_shipping_has_no_dates_and_an_inverted_flag(sqlite_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    mapping = """
defaults: {currency: USD}
sources: {parcels: shipping/E_Commerce.csv.gz}
load:
  - into: customers
    from: parcels
    key: ID
    attributes: {late: {from: Reached.on.Time_Y.N, as: boolean}, care_calls: {from: Customer_care_calls, as: integer}}
  - into: orders
    from: parcels
    key: ID
    fields: {customer: ID, net_total: Cost_of_the_Product, sales_channel: Mode_of_Shipment}
  - into: surveys
    from: parcels
    key: ID
    fields: {order: ID, kind: {value: rating}, score: Customer_rating}
"""
    report = load(sqlite_engine, tmp_path, shared_data, mapping)
    assert report.fine, rejects(report)[:3]
    late = "SELECT count(*) FROM customer WHERE json_extract(attributes, '$.late')"
    assert rows(sqlite_engine, late) == [(6_563,)]
    assert rows(sqlite_engine, "SELECT count(customer_id) FROM survey") == [(10_999,)]


def test_recalls_as_issues(sqlite_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    mapping = """
sources:
  cpsc: {file: cpsc_recalls.csv.gz}
  fda: {file: fda_recalls.csv.gz, null: [N/A]}
  nhtsa: {file: nhtsa_recalls.csv.gz, times: "%d/%m/%Y"}
load:
  - into: issues
    from: cpsc
    key: recall_id
    fields: {title: title, severity: {value: high}, advice: remedy, declared_at: recall_date}
  - into: issues
    from: fda
    key: recall_id
    fields:
      title: product
      severity: {from: classification, map: {Class I: critical, Class II: high, Class III: medium}, else: low}
      declared_at: recall_initiation_date
  - into: issues
    from: nhtsa
    key: {concat: [nhtsa_id, make, model, year], with: " "}
    fields: {title: subject, severity: {value: high}, declared_at: report_date}
"""
    report = load(sqlite_engine, tmp_path, shared_data / "recalls", mapping)
    assert not report.problems
    assert report.tables["issues"].new > 800
    assert any(entry["reason"] == "the key is empty" for entry in rejects(report))


def test_flights_scheduled_by_arithmetic(sqlite_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    mapping = """
defaults: {zone: America/New_York, null: ["NA"]}
sources: {weather: nycflights13/weather.csv.gz, planes: nycflights13/planes.csv.gz}
load:
  - {into: products, from: planes, key: tailnum, fields: {name: model, supplier: manufacturer, category: type}}
  - into: events
    from: weather
    where: {origin: JFK, wind_speed: {at_least: 30}}
    key: {concat: [origin, time_hour], with: " "}
    fields: {name: {value: storm}, happened_at: time_hour}
    properties:
      wind: {from: wind_speed, as: number}
      local: {concat: [{concat: [year, month, day], with: "-"}, hour], with: " ", as: time, times: "%Y-%m-%d %H"}
      warned: {from: time_hour, as: time, minus: {hours: {value: "6"}}}
"""
    report = load(sqlite_engine, tmp_path, shared_data, mapping)
    assert not report.problems, report.problems
    assert report.tables["products"].new == 3_322
    assert report.tables["events"].new > 30, rejects(report)[:3]
    iso = "strftime('%Y-%m-%dT%H:%M:%S.000000Z', happened_at / 1000000, 'unixepoch')"
    [(count, agreeing)] = rows(
        sqlite_engine, f"SELECT count(*), sum(json_extract(properties, '$.local') = {iso}) FROM event"
    )
    assert agreeing == count  # New York time, as year, month, day and hour say, is the UTC that time_hour says
