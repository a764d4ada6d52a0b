-- Whether two releases were loaded from the same files.
select not exists (
    (
        select table_name, sha256 from omop_emb.vocabulary_file where release_id = %(one)s
        except select table_name, sha256 from omop_emb.vocabulary_file where release_id = %(other)s
    ) union all (
        select table_name, sha256 from omop_emb.vocabulary_file where release_id = %(other)s
        except select table_name, sha256 from omop_emb.vocabulary_file where release_id = %(one)s
    )
)
