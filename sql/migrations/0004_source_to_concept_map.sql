-- Mappings that `omop-emb map` was asked to put into the database, in the columns of the CDM 5.4.
create table omop_emb.source_to_concept_map (
    source_code varchar(50) not null,
    source_concept_id integer not null,
    source_vocabulary_id varchar(20) not null,
    source_code_description varchar(255),
    target_concept_id integer not null,
    target_vocabulary_id varchar(20) not null,
    valid_start_date date not null,
    valid_end_date date not null,
    invalid_reason varchar(1)
);
create index source_to_concept_map_source on omop_emb.source_to_concept_map (source_vocabulary_id, source_code);
