"""Tables, curves and one self-contained page, from what runs and studies leave."""
