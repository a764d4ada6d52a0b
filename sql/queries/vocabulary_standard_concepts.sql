select count(*) from {concept} where standard_concept = 'S' and coalesce(invalid_reason, '') = ''
