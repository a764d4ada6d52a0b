-- Vectors of another length, and vectors that are not of unit length; NaN counts as larger than any number.
select
    count(*) filter (where vector_dims(embedding) <> {dimensions}),
    count(*) filter (where abs(l2_norm(embedding) - 1) > {tolerance})
from {rows}
