-- The numbers of vectors with other dimensions, and not of unit length; NaN is larger than any number.
select
    count(*) filter (where {vector}.vector_dims(embedding) <> {dimensions}),
    count(*) filter (where abs({vector}.l2_norm(embedding) - 1) > {tolerance})
from {rows}
