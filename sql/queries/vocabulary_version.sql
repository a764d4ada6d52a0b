select vocabulary_version from {vocabulary} where vocabulary_id = 'None'
