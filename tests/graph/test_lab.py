"""The lab's mongod is what the product needs: a replica set that takes transactions."""

from tests.lab.mongo import Mongod


def test_the_lab_mongod_commits_a_transaction(mongod: Mongod, database_name: str) -> None:
    with mongod.client() as client, client.start_session() as session:
        runs = client[database_name]["runs"]
        with session.start_transaction():
            runs.insert_one({"_id": 1}, session=session)
        assert runs.count_documents({}) == 1
