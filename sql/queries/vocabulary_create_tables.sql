create table {concept} (
    concept_id integer not null,
    concept_name text,
    domain_id text,
    vocabulary_id text,
    concept_class_id text,
    standard_concept text,
    concept_code text,
    valid_start_date date,
    valid_end_date date,
    invalid_reason text
);
create table {concept_synonym} (
    concept_id integer not null,
    concept_synonym_name text,
    language_concept_id integer
);
create table {concept_relationship} (
    concept_id_1 integer not null,
    concept_id_2 integer not null,
    relationship_id text not null,
    valid_start_date date,
    valid_end_date date,
    invalid_reason text
);
create table {concept_ancestor} (
    ancestor_concept_id integer not null,
    descendant_concept_id integer not null,
    min_levels_of_separation integer,
    max_levels_of_separation integer
);
create table {vocabulary} (
    vocabulary_id text not null,
    vocabulary_name text,
    vocabulary_reference text,
    vocabulary_version text,
    vocabulary_concept_id integer
);
create table {domain} (
    domain_id text not null,
    domain_name text,
    domain_concept_id integer
);
create table {concept_class} (
    concept_class_id text not null,
    concept_class_name text,
    concept_class_concept_id integer
);
create table {relationship} (
    relationship_id text not null,
    relationship_name text,
    is_hierarchical text,
    defines_ancestry text,
    reverse_relationship_id text,
    relationship_concept_id integer
);
