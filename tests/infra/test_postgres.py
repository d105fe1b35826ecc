from __future__ import annotations

import sqlalchemy


def test_a_fresh_database_that_keeps_what_is_committed(postgres_url):
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:
        assert connection.scalar(sqlalchemy.text("select count(*) from pg_tables where schemaname = 'public'")) == 0
        connection.execute(sqlalchemy.text("create table kept (n int)"))
        connection.execute(sqlalchemy.text("insert into kept values (7)"))
        assert connection.scalar(sqlalchemy.text("show fsync")) == "on"
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("select n from kept")) == 7
    engine.dispose()
