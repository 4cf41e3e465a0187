"""What lies in the folders of runs, exports and studies: names, schemas, one reader and writer."""
