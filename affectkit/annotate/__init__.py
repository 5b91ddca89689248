"""Raw clips to instruction data: annotators over samples, every answer kept, records with where each finding comes from."""
